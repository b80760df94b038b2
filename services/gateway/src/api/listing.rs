//! Lists of objects that have tables of their own: those that fit a filter.

use contracts::Object;
use gateway_api::domain::caller::Caller;
use gateway_api::domain::page::Page;
use gateway_api::translate::{redact, status};
use kernel::limits::PAGE;
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
    let filter = redact::filter(O::KIND, &wish.filter, &wish.labels, labels_in, caller);
    let filter = filter.map_err(status::invalid)?;
    let list = format!("{} {} {}", O::KIND.name, wish.also, filter.canonical());
    let Page { size, after } =
        Page::of(&list, wish.page_size, &wish.page_token, 2).map_err(status::invalid)?;
    // a page is read with one row more than it has, which tells whether there is another
    let chunk = if filter.is_empty() { size } else { PAGE } as usize + 1;
    let read = |after: Option<Vec<String>>, _| {
        read(Page { size: chunk as u32 - 1, after: after.unwrap_or_default() })
    };
    let key = |row: &R| vec![object(row).name().to_owned(), object(row).id().to_owned()];
    let fits = |row: &R| filter.is_empty() || filter.takes_encoded(O::KIND, &object(row).encode_to_vec());
    let (rows, next) =
        objects::fill(size as usize, chunk, Some(after), read, key, fits).await.map_err(status::broken)?;
    Ok((rows, next.map(|after| Page::token(&list, after)).unwrap_or_default()))
}
