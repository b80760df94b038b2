//! Lists of objects that have tables of their own: those that fit a filter.

use contracts::Object;
use gateway_api::domain::caller::Caller;
use gateway_api::domain::labels;
use gateway_api::domain::page::Page;
use gateway_api::translate::{redact, status};
use objects::{Filter, LOOKED_AT};
use prost_reflect::DynamicMessage;
use std::collections::BTreeMap;
use tonic::Status;

/// Which page of which list is asked for.
pub struct Wish {
    pub page_size: u32,
    pub page_token: String,
    pub filter: String,
    pub labels: BTreeMap<String, String>,
    /// What else tells the list from others.
    pub also: String,
}

/// A page of rows, each with an object whose filter it is, and the token of the next page. `read` reads a page of the
/// table, in the order of `key`. Where many have to be looked at the page is short.
pub async fn page<R, O, F>(
    wish: Wish,
    labels_in: &[&str],
    caller: &Caller,
    read: impl Fn(Page) -> F,
    object: impl Fn(&R) -> &O,
) -> Result<(Vec<R>, String), Status>
where
    O: Object,
    F: Future<Output = Result<Vec<R>, sqlx::Error>> + Send,
{
    labels::check("labels", &wish.labels).map_err(status::invalid)?;
    let message = contracts::pool().get_message_by_name(O::KIND.message);
    let message = message.ok_or_else(|| Status::internal("a kind without a message"))?;
    let filter = redact::filter(&wish.filter, &message, caller).map_err(status::invalid)?;
    let filter = filter.labelled(labels_in, &wish.labels);
    let list = format!("{} {} {}", O::KIND.name, wish.also, filter.canonical());
    let first = Page::of(&list, wish.page_size, &wish.page_token, 2).map_err(status::invalid)?;
    let key = |row: &R| vec![object(row).name().to_owned(), object(row).id().to_owned()];
    let fits = |filter: &Filter, row: &R| {
        let bytes = object(row).encode_to_vec();
        // what cannot be read is shown rather than hidden
        DynamicMessage::decode(message.clone(), bytes.as_slice()).map_or(true, |object| filter.takes(&object))
    };
    let size = first.size as usize;
    let (mut rows, mut looked_at, mut next) = (Vec::new(), 0, first);
    loop {
        let found = read(next.clone()).await.map_err(status::broken)?;
        let more = found.len() > next.size as usize;
        let last = found.iter().take(next.size as usize).next_back().map(key);
        looked_at += found.len();
        for row in found.into_iter().take(next.size as usize) {
            if !filter.is_empty() && !fits(&filter, &row) {
                continue;
            }
            if rows.len() == size {
                let after = rows.last().map(key).unwrap_or_default();
                return Ok((rows, Page::token(&list, after)));
            }
            rows.push(row);
        }
        match last {
            Some(after) if more && (rows.len() == size || looked_at >= LOOKED_AT) => {
                return Ok((rows, Page::token(&list, after)));
            }
            Some(after) if more => next = Page { size: gateway_api::domain::page::LIMIT, after },
            _ => return Ok((rows, String::new())),
        }
    }
}
