//! Pages of lists of which only some rows fit.

/// Rows that one page looks at where the database cannot tell which fit; a page that ends there is short.
pub const LOOKED_AT: usize = 5_000;

/// Reads rows in the order of their keys, behind `after`, until `size` of them fit or [`LOOKED_AT`] were looked at.
/// `read` reads at most so many behind a key, and is asked for `chunk` at a time.
///
/// Answers those that fit, and the key behind which the next page begins; `None`: there are no more.
pub async fn fill<R, K, E, F>(
    size: usize,
    chunk: usize,
    mut after: Option<K>,
    read: impl Fn(Option<K>, usize) -> F,
    key: impl Fn(&R) -> K,
    fits: impl Fn(&R) -> bool,
) -> Result<(Vec<R>, Option<K>), E>
where
    F: Future<Output = Result<Vec<R>, E>>,
{
    let (mut fitting, mut looked_at) = (Vec::<R>::new(), 0);
    loop {
        let rows = read(after, chunk).await?;
        let (count, last) = (rows.len(), rows.last().map(&key));
        for row in rows.into_iter().filter(|row| fits(row)) {
            if fitting.len() == size {
                let next = fitting.last().map(&key);
                return Ok((fitting, next));
            }
            fitting.push(row);
        }
        looked_at += count;
        if count < chunk {
            return Ok((fitting, None));
        }
        if looked_at >= LOOKED_AT {
            return Ok((fitting, last));
        }
        after = last;
    }
}
