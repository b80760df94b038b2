//! Pages of lists.

use super::{COLUMNS, Found, fill, read};
use crate::filter::{Filter, Operand, Place, Term, Test};
use contracts::ObjectKind;
use sqlx::{AssertSqlSafe, Error};

/// So many are read at once where the database cannot tell which fit.
const CHUNK: usize = 1_000;

/// Which page of which list.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Of what.
    pub kind: &'static ObjectKind,
    /// Whose; "platform" = the platform's.
    pub tenant: &'a str,
    /// Which.
    pub filter: &'a Filter,
    /// Which first.
    pub order: Order,
    /// Those that are gone as well.
    pub gone: bool,
    /// Where the page before said that this one begins; `None` = the first.
    pub after: Option<(&'a str, &'a str)>,
    /// So many.
    pub size: usize,
}

/// Which objects come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    by: By,
    descending: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Name,
    Created,
}

impl Order {
    /// Reads "name" (also ""), "created_at_us", and each with " desc".
    pub fn read(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let by = match words.next() {
            None | Some("name") => By::Name,
            Some("created_at_us") => By::Created,
            Some(_) => return Err(wrong(text)),
        };
        let descending = match words.next() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(wrong(text)),
        };
        if words.next().is_some() { Err(wrong(text)) } else { Ok(Self { by, descending }) }
    }

    fn key(self, found: &Found) -> String {
        match self.by {
            By::Name => found.name.clone(),
            By::Created => found.created_at_us.to_string(),
        }
    }
}

fn wrong(text: &str) -> String {
    let text = kernel::excerpt(text, 40);
    format!("{text:?} is no order: write name or created_at_us, and \" desc\" after it for the last first")
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What is on it: fewer than asked for where many had to be looked at.
    pub objects: Vec<Found>,
    /// Where the next one begins; `None`: there are no more.
    pub next: Option<(String, String)>,
}

/// Reads a page.
pub async fn page(db: &sqlx::AnyPool, query: &Query<'_>) -> Result<Page, Error> {
    let (told, judged) = query.filter.parted(|term| condition(term, query).is_some());
    let fits = |found: &Found| judged.takes_encoded(query.kind, &found.snapshot);
    let chunk = if judged.is_empty() { query.size + 1 } else { CHUNK };
    let after = query.after.map(|(key, id)| (key.to_owned(), id.to_owned()));
    let told = &told;
    let read = |after: Option<(String, String)>, most| async move {
        rows(db, query, told, after.as_ref(), most).await
    };
    let key = |found: &Found| (query.order.key(found), found.id.clone());
    let (objects, next) = fill(query.size, chunk, after, read, key, fits).await?;
    Ok(Page { objects, next })
}

enum Bound {
    Text(String),
    Number(i64),
}

/// A statement with its parameters, each in the order of its number.
#[derive(Default)]
struct Statement {
    sql: String,
    bound: Vec<Bound>,
}

impl Statement {
    /// Adds SQL in which each '?' stands for the next of these.
    fn add(&mut self, sql: &str, bound: impl IntoIterator<Item = Bound>) {
        let mut bound = bound.into_iter();
        for c in sql.chars() {
            if c != '?' {
                self.sql.push(c);
            } else if let Some(value) = bound.next() {
                self.bound.push(value);
                self.sql += &format!("${}", self.bound.len());
            }
        }
    }
}

async fn rows(
    db: &sqlx::AnyPool,
    query: &Query<'_>,
    told: &Filter,
    after: Option<&(String, String)>,
    most: usize,
) -> Result<Vec<Found>, Error> {
    let text = |text: &str| Bound::Text(text.to_owned());
    let mut statement = Statement::default();
    statement.add(
        &format!("SELECT {COLUMNS} FROM objects WHERE kind = ? AND tenant = ?"),
        [text(query.kind.name), text(query.tenant)],
    );
    if !query.gone {
        statement.add(" AND gone_at_us = 0", []);
    }
    for (sql, bound) in told.terms().iter().filter_map(|term| condition(term, query)) {
        statement.add(&sql, bound);
    }
    let Order { by, descending } = query.order;
    let key = match by {
        By::Name => "name",
        By::Created => "created_at_us",
    };
    let (beyond, direction) = if descending { ("<", " DESC") } else { (">", "") };
    if let Some((last, id)) = after {
        let last = || match by {
            By::Name => text(last),
            By::Created => Bound::Number(last.parse().unwrap_or_default()),
        };
        let sql = format!(" AND ({key} {beyond} ? OR ({key} = ? AND id {beyond} ?))");
        statement.add(&sql, [last(), last(), text(id)]);
    }
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    statement.add(&format!(" ORDER BY {key}{direction}, id{direction} LIMIT ?"), [Bound::Number(most)]);
    // nothing but names of columns and numbers of parameters was put into it
    let mut query = sqlx::query(AssertSqlSafe(statement.sql));
    for bound in statement.bound {
        query = match bound {
            Bound::Text(text) => query.bind(text),
            Bound::Number(number) => query.bind(number),
        };
    }
    query.fetch_all(db).await?.iter().map(read).collect()
}

/// A term as the database can judge it, if it can.
fn condition(term: &Term, query: &Query<'_>) -> Option<(String, Vec<Bound>)> {
    let equal = term.test == Test::Is;
    match (&term.place, &term.operand) {
        (Place::Field(way, field), Operand::Text(value)) if way.is_empty() && equal => {
            let (field, value) = (field.as_str(), value.clone());
            if matches!(field, "id" | "name") {
                return Some((format!(" AND {field} = ?"), vec![Bound::Text(value)]));
            }
            let found_by = query.kind.indexed.contains(&field) && !value.is_empty();
            (found_by && !query.gone).then(|| by_term(query, field.to_owned(), value))
        }
        (Place::Entry(way, map, key), Operand::Text(value))
            if way.is_empty() && map == "labels" && equal && !query.gone =>
        {
            Some(by_term(query, format!("labels.{key}"), value.clone()))
        }
        (Place::Field(way, field), Operand::Number(number)) if way.is_empty() && field == "created_at_us" => {
            let number = i64::try_from(*number).ok()?;
            let sign = match term.test {
                Test::Is => "=",
                Test::Less => "<",
                Test::AtMost => "<=",
                Test::More => ">",
                Test::AtLeast => ">=",
                Test::IsNot | Test::Has => return None,
            };
            Some((format!(" AND created_at_us {sign} ?"), vec![Bound::Number(number)]))
        }
        _ => None,
    }
}

/// Terms of what is gone are not kept: this is for those that are there.
fn by_term(query: &Query<'_>, field: String, value: String) -> (String, Vec<Bound>) {
    let sql =
        " AND id IN (SELECT id FROM object_terms WHERE kind = ? AND tenant = ? AND field = ? AND value = ?)";
    let texts = [query.kind.name.to_owned(), query.tenant.to_owned(), field, value];
    (sql.to_owned(), texts.map(Bound::Text).into())
}
