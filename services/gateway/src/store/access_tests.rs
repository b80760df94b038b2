//! Tenants, users and tokens on both databases.

use crate::store::images;
use contracts::gateway::v1::{KeyedHash, Tenant, TenantState, Token, TokenRecord, User, UserRecord};
use contracts::scheduler::v1::{Instance, InstancePhase, SshKey};
use contracts::storage::v1::Image;
use gateway_access::store::{tenants, tokens, users};
use gateway_api::domain::page::Page;
use gateway_api::store::{MIGRATIONS, uploads};
use testkit::databases;

fn user(id: &str, tenant: &str, name: &str, revision: u64, deleted: bool) -> UserRecord {
    let (id, tenant, name) = (id.into(), tenant.into(), name.into());
    let user = User { id, tenant, name, revision, deleted, ..User::default() };
    UserRecord { user: Some(user), ..UserRecord::default() }
}

fn token(id: &str, name: &str, revoked_at_us: i64, expires_at_us: i64) -> TokenRecord {
    let token = Token {
        id: id.into(),
        name: name.into(),
        user_id: "ann".into(),
        revoked_at_us,
        expires_at_us,
        revision: 1,
        ..Token::default()
    };
    TokenRecord { token: Some(token), hash: Some(KeyedHash { hex: format!("hash of {id}") }) }
}

fn first(size: u32) -> Page {
    Page { size, after: vec![] }
}

#[tokio::test]
async fn users_are_found_in_their_tenant_while_they_are_there() {
    for database in databases(MIGRATIONS).await {
        let mut tx = database.store.begin().await.expect("begins");
        for record in [
            user("1", "acme", "ann", 1, false),
            user("2", "other", "ann", 1, false),
            user("3", "acme", "bob", 2, true),
            user("3", "acme", "bob", 1, false),
            user("4", "acme", "bob", 1, false),
        ] {
            users::put(&mut tx, &record).await.expect("written");
        }
        let find = async |tx: &mut sqlx::AnyConnection, tenant: &str, name: &str| {
            users::find(tx, tenant, name).await.expect("read").and_then(|r| r.user).map(|user| user.id)
        };
        assert_eq!(find(&mut tx, "acme", "ann").await.as_deref(), Some("1"));
        assert_eq!(find(&mut tx, "other", "ann").await.as_deref(), Some("2"));
        assert_eq!(find(&mut tx, "acme", "2").await, None, "an id of another tenant");
        assert_eq!(find(&mut tx, "acme", "bob").await.as_deref(), Some("4"), "the older word came later");
        let page = users::page(&mut *tx, "acme", &first(5)).await.expect("read");
        let names: Vec<String> = page.into_iter().filter_map(|r| r.user).map(|user| user.name).collect();
        assert_eq!(names, ["ann", "bob"]);
        assert!(users::use_code(&mut tx, "1", 7).await.expect("written"));
        assert!(!users::use_code(&mut tx, "1", 7).await.expect("written"), "the same code");
        assert!(!users::use_code(&mut tx, "1", 6).await.expect("written"), "an older code");
        assert!(users::use_code(&mut tx, "1", 8).await.expect("written"));
        drop(tx);
        database.remove().await;
    }
}

#[tokio::test]
async fn tokens_are_found_by_hash_and_by_name_while_they_open_something() {
    for database in databases(MIGRATIONS).await {
        let mut tx = database.store.begin().await.expect("begins");
        for record in [
            token("1", "ci", 5, 0),
            token("2", "ci", 0, 0),
            token("3", "old", 0, 50),
            token("4", "new", 0, 500),
        ] {
            tokens::put(&mut tx, &record).await.expect("written");
        }
        let by_name = async |tx: &mut sqlx::AnyConnection, user: &str, name: &str| {
            let found = tokens::find(tx, user, name, 100).await.expect("read");
            found.and_then(|record| record.token).map(|token| token.id)
        };
        assert_eq!(by_name(&mut tx, "ann", "ci").await.as_deref(), Some("2"));
        assert_eq!(by_name(&mut tx, "ann", "1").await.as_deref(), Some("1"), "by id whatever became of it");
        assert_eq!(by_name(&mut tx, "ann", "old").await, None);
        assert_eq!(by_name(&mut tx, "bob", "2").await, None, "another's");
        let found = tokens::by_hash(&mut *tx, "hash of 4").await.expect("read").and_then(|r| r.token);
        assert_eq!(found.map(|token| token.name).as_deref(), Some("new"));
        assert_eq!(tokens::by_hash(&mut *tx, "").await.expect("read"), None);
        for (at, address) in [(7, "::1"), (9, "::2"), (8, "::3")] {
            tokens::used(&mut tx, "4", at, address).await.expect("written");
        }
        let open = tokens::page(&mut *tx, "ann", false, 100, &first(5)).await.expect("read");
        let shown: Vec<_> =
            open.iter().map(|t| (t.id.as_str(), t.last_used_at_us, t.last_used_from.as_str())).collect();
        assert_eq!(shown, [("4", 9, "::2"), ("2", 0, "")]);
        assert_eq!(tokens::page(&mut *tx, "ann", true, 100, &first(5)).await.expect("read").len(), 4);
        assert!(tokens::was_made(&mut *tx, "old").await.expect("read"));
        assert!(!tokens::was_made(&mut *tx, "never").await.expect("read"));
        drop(tx);
        database.remove().await;
    }
}

#[tokio::test]
async fn tokens_that_ended_are_forgotten_in_whatever_order_they_are_told() {
    for database in databases(MIGRATIONS).await {
        let all = [
            token("1", "revoked", 5, 0),
            token("2", "good", 0, 0),
            token("3", "ended", 0, 50),
            token("4", "at the time", 0, 100),
            token("5", "later", 0, 101),
        ];
        for forgotten_after in 0..=all.len() {
            let mut tx = database.store.begin().await.expect("begins");
            for (index, record) in all.iter().enumerate() {
                if index == forgotten_after {
                    tokens::forget(&mut tx, 100).await.expect("forgotten");
                }
                tokens::put(&mut tx, record).await.expect("written");
            }
            if forgotten_after == all.len() {
                tokens::used(&mut tx, "3", 40, "::1").await.expect("written");
                assert_eq!(
                    tokens::ended(&mut *tx, 102, 2).await.expect("read"),
                    [50, 100],
                    "{}",
                    database.name
                );
            }
            tokens::forget(&mut tx, 100).await.expect("forgotten");
            // an older word comes late: what was forgotten stays so
            tokens::forget(&mut tx, 10).await.expect("forgotten");
            tokens::put(&mut tx, &all[2]).await.expect("passed over");
            let left = tokens::page(&mut *tx, "ann", true, 0, &first(9)).await.expect("read");
            let left: Vec<&str> = left.iter().map(|token| token.id.as_str()).collect();
            assert_eq!(left, ["5", "4", "2", "1"], "{}", database.name);
            let uses: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM token_uses")
                .fetch_one(&mut *tx)
                .await
                .expect("a count");
            assert_eq!((uses, tokens::ended(&mut *tx, 100, 9).await.expect("read")), (0, vec![]));
        }
        database.remove().await;
    }
}

#[tokio::test]
async fn a_tenant_knows_what_it_owns() {
    for database in databases(MIGRATIONS).await {
        let mut tx = database.store.begin().await.expect("begins");
        let row = |state: TenantState, revision| Tenant {
            name: "acme".into(),
            state: state as i32,
            revision,
            ..Tenant::default()
        };
        for one in [row(TenantState::Active, 1), row(TenantState::Disabled, 2), row(TenantState::Active, 1)] {
            tenants::put(&mut tx, &one).await.expect("written");
        }
        let state = tenants::get(&mut *tx, "acme").await.expect("read").map(|tenant| tenant.state);
        assert_eq!(state, Some(TenantState::Disabled as i32));
        assert!(tenants::belongings(&mut tx, "acme").await.expect("read").is_empty());
        for (id, phase) in
            [("1", InstancePhase::Ready), ("2", InstancePhase::Ready), ("3", InstancePhase::Deleted)]
        {
            let (tenant, phase) = ("acme".into(), phase as i32);
            let one = Instance { id: id.into(), tenant, phase, revision: 1, ..Instance::default() };
            super::tests::put(&mut tx, one).await;
        }
        let image = Image { id: "i".into(), tenant: "acme".into(), revision: 1, ..Image::default() };
        images::put(&mut tx, &image).await.expect("written");
        users::put(&mut tx, &user("u", "acme", "ann", 1, false)).await.expect("written");
        users::put(&mut tx, &user("v", "acme", "bob", 1, true)).await.expect("written");
        users::put(&mut tx, &user("w", "other", "eve", 1, false)).await.expect("written");
        let key = |id: &str, deleted_at_us| SshKey {
            id: id.into(),
            tenant: "acme".into(),
            name: id.into(),
            revision: 1,
            deleted_at_us,
            ..SshKey::default()
        };
        for one in [key("k", 0), key("l", 0), key("m", 9)] {
            objects::put(&mut tx, &objects::Row::of(&one)).await.expect("written");
        }
        let left = tenants::belongings(&mut tx, "acme").await.expect("read");
        assert_eq!(left, ["2 instances", "1 image", "1 user", "2 ssh keys"]);
        uploads::staged(&mut tx, "file", "acme").await.expect("written");
        uploads::staged(&mut tx, "file", "other").await.expect("written");
        assert!(uploads::is_of(&mut *tx, "file", "acme").await.expect("read"));
        assert!(!uploads::is_of(&mut *tx, "file", "other").await.expect("read"));
        drop(tx);
        database.remove().await;
    }
}
