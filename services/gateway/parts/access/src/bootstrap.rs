//! Who is there in a new installation: a tenant, and an administrator with a token.

use crate::store::{tenants, tokens, users};
use crate::translate::access;
use anyhow::Context;
use bus::{Cause, Desk, Work};
use chassis::private_file;
use contracts::gateway::v1::{
    KeyedHash, Tenant, TenantCreated, TenantState, Token, TokenCreated, TokenKind, TokenRecord, User,
    UserCreated, UserRecord,
};
use gateway_api::adapters::keys::{TokenKey, random_hex};
use gateway_api::domain::caller::DEFAULT_TENANT;
use gateway_api::domain::permissions::Role;
use kernel::{PLATFORM, TokenId, UserId};
use std::path::Path;

const BOOTSTRAP: &str = "bootstrap";
const ADMINISTRATOR: &str = "admin";
/// Characters that nobody guesses.
const SHORTEST_TOKEN: usize = 32;

/// Makes the tenant in which platform-wide callers act when they name no other.
pub async fn default_tenant(desk: &Desk) -> anyhow::Result<()> {
    let mut work = desk.begin(Cause::own(gateway_api::SERVICE_NAME)).await?;
    desk.store().lock(work.tx(), "default tenant").await?;
    if tenants::get(&mut *work.tx(), DEFAULT_TENANT).await?.is_some() {
        return Ok(());
    }
    let now_us = work.now().micros();
    let tenant = Tenant {
        name: DEFAULT_TENANT.to_owned(),
        description: "What belongs to nobody in particular.".to_owned(),
        state: TenantState::Active as i32,
        revision: 1,
        created_at_us: now_us,
        updated_at_us: now_us,
    };
    tenants::put(work.tx(), &tenant).await?;
    work.say_for(PLATFORM, &TenantCreated { tenant: Some(tenant) });
    Ok(work.commit().await?)
}

/// Makes the first administrator, and a token for them at the first start: 256 random bits in `file`, readable by its
/// owner only, and their hash in the table. A token that is there stays, also when it was revoked; a file that was
/// put away stays away.
pub async fn admin_token(desk: &Desk, key: &TokenKey, file: &Path) -> anyhow::Result<()> {
    let mut work = desk.begin(Cause::own(gateway_api::SERVICE_NAME)).await?;
    // several gateways on one database that start together make one token
    desk.store().lock(work.tx(), "bootstrap token").await?;
    let was_made = tokens::was_made(&mut *work.tx(), BOOTSTRAP).await?;
    let place = || format!("the administrator's token {}", file.display());
    let token = match private_file::read(file).with_context(place)? {
        Some(token) => token,
        None if was_made => return Ok(()),
        // the file comes first: a token in the table that nobody knows would lock everybody out
        None => private_file::read_or_make(file, random_hex).with_context(place)?,
    };
    let token = token.trim();
    // an empty token would be known to everybody
    anyhow::ensure!(
        token.len() >= SHORTEST_TOKEN,
        "{} holds {} characters: expected a token of {SHORTEST_TOKEN} or more. Put its content back, or remove it",
        place(),
        token.len()
    );
    let hash = key.hash(token);
    if tokens::by_hash(&mut *work.tx(), &hash).await?.is_some() {
        return Ok(());
    }
    if was_made {
        tracing::warn!(file = %file.display(), "the administrator's token was unknown under this token.key and is taken in anew");
    }
    let user = first_administrator(&mut work).await?;
    let token = Token {
        id: TokenId::new().to_string(),
        name: BOOTSTRAP.to_owned(),
        kind: TokenKind::Api as i32,
        user_id: user.id,
        user: user.name,
        tenant: PLATFORM.to_owned(),
        created_at_us: work.now().micros(),
        revision: 1,
        ..Token::default()
    };
    let record = TokenRecord { token: Some(token), hash: Some(KeyedHash { hex: hash }) };
    tokens::put(work.tx(), &record).await?;
    work.say_for(PLATFORM, &TokenCreated { record: Some(record) });
    work.commit().await?;
    tracing::info!(file = %file.display(), "made the administrator's token");
    Ok(())
}

/// The user of the platform called "admin"; made, without a password, when there is none.
async fn first_administrator(work: &mut Work) -> anyhow::Result<User> {
    if let Some(user) = users::find(&mut *work.tx(), PLATFORM, ADMINISTRATOR).await?.and_then(|r| r.user) {
        return Ok(user);
    }
    let now_us = work.now().micros();
    let user = User {
        id: UserId::new().to_string(),
        name: ADMINISTRATOR.to_owned(),
        tenant: PLATFORM.to_owned(),
        description: "The first administrator.".to_owned(),
        roles: vec![access::binding(Role::Admin, PLATFORM)],
        revision: 1,
        created_at_us: now_us,
        updated_at_us: now_us,
        ..User::default()
    };
    let record = UserRecord { user: Some(user.clone()), ..UserRecord::default() };
    users::put(work.tx(), &record).await?;
    work.say_for(PLATFORM, &UserCreated { record: Some(record) });
    Ok(user)
}
