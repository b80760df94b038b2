//! Records of calls.

use super::{column, snapshots};
use crate::domain::audit::{Filter, operation};
use contracts::gateway::v1::AuditRecord;
use kernel::printable;
use prost::Message as _;
use sqlx::{AnyConnection, AnyExecutor, AssertSqlSafe};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    Newest,
    /// Oldest first.
    Oldest,
}

/// Writes a record; a row that stands for as many calls or more stays.
pub async fn put(db: &mut AnyConnection, record: &AuditRecord) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO audit (id, at_us, tenant, actor, operation, outcome, calls, snapshot)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (id) DO UPDATE SET calls = excluded.calls, snapshot = excluded.snapshot
         WHERE audit.calls < excluded.calls",
    )
    .bind(&record.id)
    .bind(record.at_us)
    .bind(&record.tenant)
    .bind(printable(&record.actor))
    .bind(operation(&record.method))
    .bind(i64::from(record.outcome))
    .bind(column(record.count))
    .bind(record.encode_to_vec())
    .execute(&mut *db)
    .await?;
    for object in record.objects.iter().flat_map(|object| [&object.id, &object.name]) {
        if object.is_empty() {
            continue;
        }
        let object = printable(object);
        sqlx::query(
            "INSERT INTO audit_objects (object, audit_id) VALUES ($1, $2) ON CONFLICT (object, audit_id) DO NOTHING",
        )
        .bind(object)
        .bind(&record.id)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

enum Value<'a> {
    Text(&'a str),
    Number(i64),
}

/// Records that match, after the one with this time and id (`None` = from the beginning of the order).
pub async fn page<'a>(
    db: impl AnyExecutor<'a>,
    filter: &Filter,
    order: Order,
    after: Option<(i64, &str)>,
    limit: i64,
) -> Result<Vec<AuditRecord>, sqlx::Error> {
    let mut values = Vec::new();
    let mut wanted = Vec::new();
    // only what is asked for stands in the statement, so that an index serves it
    for (name, text) in
        [("tenant", &filter.tenant), ("actor", &filter.actor), ("operation", &filter.operation)]
    {
        if !text.is_empty() {
            values.push(Value::Text(text));
            wanted.push(format!("{name} = ${}", values.len()));
        }
    }
    if !filter.object.is_empty() {
        values.push(Value::Text(&filter.object));
        wanted.push(format!("id IN (SELECT audit_id FROM audit_objects WHERE object = ${})", values.len()));
    }
    let outcome = filter.outcome.map(|outcome| i64::from(outcome.number()));
    let since = (filter.since_us != 0).then_some(filter.since_us);
    let until = (filter.until_us != 0).then_some(filter.until_us);
    for (test, value) in [("outcome =", outcome), ("at_us >=", since), ("at_us <", until)] {
        if let Some(value) = value {
            values.push(Value::Number(value));
            wanted.push(format!("{test} ${}", values.len()));
        }
    }
    let (sign, direction) = match order {
        Order::Newest => ('<', "DESC"),
        Order::Oldest => ('>', "ASC"),
    };
    if let Some((at_us, id)) = after {
        values.push(Value::Number(at_us));
        let time = values.len();
        values.push(Value::Text(id));
        wanted.push(format!("(at_us {sign} ${time} OR (at_us = ${time} AND id {sign} ${}))", values.len()));
    }
    values.push(Value::Number(limit));
    let test = if wanted.is_empty() { String::new() } else { format!("WHERE {}", wanted.join(" AND ")) };
    let sql = format!(
        "SELECT snapshot FROM audit {test} ORDER BY at_us {direction}, id {direction} LIMIT ${}",
        values.len()
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for value in values {
        query = match value {
            Value::Text(text) => query.bind(text.to_owned()),
            Value::Number(number) => query.bind(number),
        };
    }
    snapshots(&query.fetch_all(db).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Outcome;
    use crate::store::MIGRATIONS;
    use contracts::gateway::v1::AuditObject;

    fn record(id: &str, at_us: i64, actor: &str, count: u64) -> AuditRecord {
        let object = AuditObject {
            kind: "instance".into(),
            id: format!("id-{id}"),
            name: "web".into(),
            as_sent: false,
        };
        AuditRecord {
            id: id.into(),
            at_us,
            tenant: "acme".into(),
            actor: actor.into(),
            method: "berth.gateway.v1.InstanceService/StopInstance".into(),
            objects: vec![object],
            outcome: Outcome::Denied.number(),
            count,
            ..AuditRecord::default()
        }
    }

    #[tokio::test]
    async fn records_are_kept_once_with_the_highest_count_and_found_by_what_they_say() {
        for database in testkit::databases(MIGRATIONS).await {
            let mut tx = database.store.begin().await.expect("begins");
            for one in [record("a", 5, "ann", 1), record("b", 5, "bob", 1), record("c", 7, "ann", 1)] {
                put(&mut tx, &one).await.expect("written");
            }
            put(&mut tx, &record("a", 5, "ann", 9)).await.expect("written");
            put(&mut tx, &record("a", 5, "ann", 2)).await.expect("written");
            tx.commit().await.expect("commits");
            let found = async |filter: Filter, order, after| {
                let rows = page(database.store.reader(), &filter, order, after, 10).await.expect("read");
                rows.into_iter().map(|row| (row.id, row.count)).collect::<Vec<_>>()
            };
            let all = Filter::default();
            let row = |id: &str, count: u64| (id.to_owned(), count);
            let newest = found(all.clone(), Order::Newest, None).await;
            assert_eq!(newest, [row("c", 1), row("b", 1), row("a", 9)], "{}", database.name);
            assert_eq!(found(all.clone(), Order::Newest, Some((5, "b"))).await, [row("a", 9)]);
            assert_eq!(found(all.clone(), Order::Oldest, Some((5, "a"))).await, [row("b", 1), row("c", 1)]);
            let wanted = Filter {
                tenant: "acme".into(),
                actor: "ann".into(),
                object: "web".into(),
                operation: "StopInstance".into(),
                outcome: Some(Outcome::Denied),
                since_us: 5,
                until_us: 7,
            };
            assert_eq!(found(wanted.clone(), Order::Newest, None).await, [row("a", 9)]);
            for nothing in [
                Filter { tenant: "other".into(), ..wanted.clone() },
                Filter { object: "id-b".into(), ..wanted.clone() },
                Filter { outcome: Some(Outcome::Ok), ..wanted.clone() },
                Filter { since_us: 6, ..wanted },
            ] {
                assert_eq!(found(nothing, Order::Newest, None).await, []);
            }
        }
    }
}
