//! What nats-server asks when a client connects, and what it is answered: signed claims of NATS (JWT version 2 with
//! Ed25519 keys), as auth callout wants them
//! (<https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_callout>).

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chassis::private_file;
use nkeys::{KeyPair, KeyPairType};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

/// The account of the broker in which other systems are; `nats.conf` has to name it the same.
pub const ACCOUNT: &str = "OUTSIDE";
/// Subscriptions of one client.
const SUBSCRIPTIONS: u32 = 32;

/// The key under which the gateway vouches for clients of the broker.
pub struct CalloutKey(KeyPair);

/// A client that wants to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connecting {
    /// The server that asks.
    pub server: String,
    /// The key that stands for the client's connection.
    pub connection: String,
    /// Where it comes from: "203.0.113.7".
    pub host: String,
    /// The API token: the password or the token of the connection; "" = none.
    pub token: String,
    /// The tenant to act in: the user of the connection; "" = the usual one.
    pub tenant: String,
}

#[derive(Deserialize)]
struct Request {
    iss: String,
    nats: Asked,
}

#[derive(Deserialize)]
struct Asked {
    user_nkey: String,
    #[serde(default)]
    client_info: ClientInfo,
    #[serde(default)]
    connect_opts: ConnectOptions,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ClientInfo {
    host: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ConnectOptions {
    user: String,
    pass: String,
    auth_token: String,
}

impl CalloutKey {
    /// Reads the key (a seed of NATS, "SA…"); makes one, for its owner only, when there is none.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let place = || format!("key for clients of the broker {}", path.display());
        let fresh = KeyPair::new_account().seed().with_context(place)?;
        let seed = private_file::read_or_make(path, || fresh).with_context(place)?;
        let pair = KeyPair::from_seed(seed.trim()).with_context(place)?;
        if !matches!(pair.key_pair_type(), KeyPairType::Account) {
            bail!("{}: expected the seed of an account, SA…", place());
        }
        Ok(Self(pair))
    }

    /// The public side: `issuer` in the configuration of the broker.
    pub fn issuer(&self) -> String {
        self.0.public_key()
    }

    /// Lets a client in: until `until_s` it may send to the tenant's subjects, hear answers to that, and nothing else.
    pub fn admit(
        &self,
        connecting: &Connecting,
        tenant: &str,
        name: &str,
        now_s: i64,
        until_s: i64,
    ) -> String {
        let user = json!({
            "iss": self.issuer(),
            "sub": connecting.connection,
            "aud": ACCOUNT,
            "name": name,
            "iat": now_s,
            "exp": until_s,
            "nats": {
                "type": "user",
                "version": 2,
                "pub": {"allow": [format!("ext.{tenant}.>")]},
                "sub": {"allow": [format!("_INBOX.{tenant}.>")]},
                "subs": SUBSCRIPTIONS,
                "data": -1,
                "payload": bus::topology::OUTSIDE_MESSAGE_BYTES,
            },
        });
        self.answer(connecting, now_s, json!({"jwt": self.signed(&user)}))
    }

    /// Turns a client away. The reason goes to the log of the broker; the client is told that it may not.
    pub fn refuse(&self, connecting: &Connecting, reason: &str, now_s: i64) -> String {
        self.answer(connecting, now_s, json!({"error": reason}))
    }

    fn answer(&self, connecting: &Connecting, now_s: i64, mut nats: Value) -> String {
        nats["type"] = "authorization_response".into();
        nats["version"] = 2.into();
        let claims = json!({
            "iss": self.issuer(),
            "sub": connecting.connection,
            "aud": connecting.server,
            "iat": now_s,
            "nats": nats,
        });
        self.signed(&claims)
    }

    fn signed(&self, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
        let text = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        // it fails for pairs without a seed only, and this one came from its seed
        let signature = self.0.sign(text.as_bytes()).unwrap_or_default();
        format!("{text}.{}", BASE64.encode(signature))
    }
}

/// Reads what the server asks. It has to be signed by the server that it says it is of.
pub fn read(token: &[u8]) -> anyhow::Result<Connecting> {
    let token = std::str::from_utf8(token).context("not text")?;
    let (text, signature) = token.trim().rsplit_once('.').context("not three parts")?;
    let (_, claims) = text.split_once('.').context("not three parts")?;
    let Request { iss: server, nats } =
        serde_json::from_slice(&BASE64.decode(claims).context("claims")?).context("claims")?;
    let signer = KeyPair::from_public_key(&server).context("issuer")?;
    let signature = BASE64.decode(signature).context("signature")?;
    if !matches!(signer.key_pair_type(), KeyPairType::Server)
        || signer.verify(text.as_bytes(), &signature).is_err()
    {
        bail!("not signed by the server {server}");
    }
    let Asked { user_nkey, client_info, connect_opts } = nats;
    let ConnectOptions { user, pass, auth_token } = connect_opts;
    Ok(Connecting {
        server,
        connection: user_nkey,
        host: client_info.host,
        token: if pass.is_empty() { auth_token } else { pass },
        tenant: user,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> CalloutKey {
        CalloutKey(KeyPair::new_account())
    }

    /// A request as a server makes it.
    fn asked(server: &KeyPair, signer: &KeyPair, options: Value) -> String {
        let claims = json!({
            "iss": server.public_key(),
            "aud": "nats-authorization-request",
            "nats": {
                "user_nkey": "UABC", "client_info": {"host": "203.0.113.7", "id": 3}, "connect_opts": options,
                "server_id": {"name": "s", "id": server.public_key()}, "type": "authorization_request", "version": 2,
            },
        });
        CalloutKey(KeyPair::from_seed(&signer.seed().expect("a seed")).expect("a pair")).signed(&claims)
    }

    fn claims(token: &str) -> Value {
        let part = token.split('.').nth(1).expect("three parts");
        serde_json::from_slice(&BASE64.decode(part).expect("base64")).expect("json")
    }

    #[test]
    fn a_request_names_the_token_and_the_tenant() {
        let server = KeyPair::new_server();
        let connecting = read(asked(&server, &server, json!({"user": "acme", "pass": "secret"})).as_bytes())
            .expect("right");
        assert_eq!((connecting.tenant.as_str(), connecting.token.as_str()), ("acme", "secret"));
        assert_eq!((connecting.host.as_str(), connecting.server), ("203.0.113.7", server.public_key()));
        let by_token =
            read(asked(&server, &server, json!({"auth_token": "secret"})).as_bytes()).expect("right");
        assert_eq!((by_token.tenant.as_str(), by_token.token.as_str()), ("", "secret"));
        let nothing = read(asked(&server, &server, json!({})).as_bytes()).expect("right");
        assert_eq!(nothing.token, "");
    }

    #[test]
    fn what_is_not_signed_by_the_server_is_not_read() {
        let (server, other) = (KeyPair::new_server(), KeyPair::new_server());
        let forged = asked(&server, &other, json!({"pass": "x"}));
        assert!(read(forged.as_bytes()).is_err());
        let right = asked(&server, &server, json!({"pass": "x"}));
        let mut changed = right.clone().into_bytes();
        let place = right.find('.').expect("parts") + 30;
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        assert!(read(&changed).is_err());
        let user = KeyPair::new_user();
        assert!(read(asked(&user, &user, json!({})).as_bytes()).is_err(), "a user is no server");
        for garbage in ["", "a", "a.b", "a.b.c", "..", "\u{e4}.\u{e4}.\u{e4}"] {
            assert!(read(garbage.as_bytes()).is_err(), "{garbage}");
        }
    }

    #[test]
    fn who_is_let_in_may_send_to_one_tenant_alone() {
        let (key, server) = (key(), KeyPair::new_server());
        let connecting = read(asked(&server, &server, json!({"pass": "x"})).as_bytes()).expect("right");
        let answer = claims(&key.admit(&connecting, "acme", "ann@acme", 100, 200));
        assert_eq!((&answer["aud"], &answer["sub"]), (&json!(server.public_key()), &json!("UABC")));
        let user = claims(answer["nats"]["jwt"].as_str().expect("claims of a user"));
        assert_eq!(
            (&user["aud"], &user["exp"], &user["sub"]),
            (&json!(ACCOUNT), &json!(200), &json!("UABC"))
        );
        assert_eq!(user["nats"]["pub"], json!({"allow": ["ext.acme.>"]}));
        assert_eq!(user["nats"]["sub"], json!({"allow": ["_INBOX.acme.>"]}));
        let refused = claims(&key.refuse(&connecting, "no", 100));
        assert_eq!((&refused["nats"]["error"], refused["nats"].get("jwt")), (&json!("no"), None));
    }

    #[test]
    fn the_key_is_made_once_and_kept_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("keys/callout.seed");
        let first = CalloutKey::from_file(&path).expect("made");
        assert_eq!(CalloutKey::from_file(&path).expect("read").issuer(), first.issuer());
        assert!(first.issuer().starts_with('A'));
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, KeyPair::new_user().seed().expect("a seed")).expect("written");
        assert!(CalloutKey::from_file(&path).is_err(), "the seed of a user");
    }
}
