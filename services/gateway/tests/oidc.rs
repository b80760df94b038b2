//! Logins through an identity provider that does what it should, and through one that does not.

mod harness;

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use ed25519_dalek::{Signer, SigningKey};
use gateway::OidcSettings;
use harness::Gateway;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

const REDIRECT: &str = "http://127.0.0.1:4567/callback";

/// What a provider does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Wrong {
    #[default]
    Nothing,
    Signature,
    OtherKey,
    NoSignature,
    Audience,
    OtherAudienceToo,
    Issuer,
    Expired,
    Nonce,
    NoNonce,
    NoToken,
    OtherUserinfo,
}

struct Idp {
    issuer: String,
    key: SigningKey,
    wrong: Wrong,
    /// Claims of whoever logs in.
    claims: Value,
    /// Told at the userinfo endpoint only.
    userinfo: Option<Value>,
    /// Nonce, challenge and redirect address by code.
    codes: HashMap<String, (String, String, String)>,
}

type Shared = Arc<Mutex<Idp>>;

fn random_key() -> SigningKey {
    SigningKey::from_bytes(&rand::random())
}

async fn configuration(State(idp): State<Shared>) -> Json<Value> {
    let issuer = idp.lock().expect("lock").issuer.clone();
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
    }))
}

fn kid(key: &SigningKey) -> String {
    hex::encode(&key.verifying_key().to_bytes()[..8])
}

async fn jwks(State(idp): State<Shared>) -> Json<Value> {
    let key = &idp.lock().expect("lock").key;
    let x = BASE64.encode(key.verifying_key().to_bytes());
    Json(
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid(key), "x": x}]}),
    )
}

async fn authorize(State(idp): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    assert_eq!((query["response_type"].as_str(), query["client_id"].as_str()), ("code", "berth"));
    assert_eq!(query["code_challenge_method"], "S256");
    assert!(query["scope"].split(' ').any(|scope| scope == "openid"));
    let code = hex::encode(rand::random::<[u8; 8]>());
    let kept = (query["nonce"].clone(), query["code_challenge"].clone(), query["redirect_uri"].clone());
    idp.lock().expect("lock").codes.insert(code.clone(), kept);
    let back = format!("{}?code={code}&state={}", query["redirect_uri"], query["state"]);
    (StatusCode::FOUND, [(header::LOCATION, back)]).into_response()
}

async fn token(
    State(idp): State<Shared>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let mut idp = idp.lock().expect("lock");
    let refuse = |why: &str| (StatusCode::BAD_REQUEST, Json(json!({"error": why}))).into_response();
    let basic = format!("Basic {}", STANDARD.encode("berth:s3cret+"));
    // the secret is form-encoded inside (RFC 6749, section 2.3.1)
    let encoded = format!("Basic {}", STANDARD.encode("berth:s3cret%2B"));
    let sent = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if sent != encoded && sent != basic {
        return refuse("invalid_client");
    }
    let Some((nonce, challenge, redirect)) = idp.codes.remove(&form["code"]) else {
        return refuse("invalid_grant");
    };
    let proven = BASE64.encode(Sha256::digest(&form["code_verifier"])) == challenge;
    if !proven || form["redirect_uri"] != redirect || form["grant_type"] != "authorization_code" {
        return refuse("invalid_grant");
    }
    let now = kernel::Clock::now(&kernel::SystemClock).micros() / 1_000_000;
    let mut claims = json!({
        "iss": idp.issuer, "aud": "berth", "iat": now, "exp": now + 300, "nonce": nonce,
    });
    claims.as_object_mut().expect("claims").extend(idp.claims.as_object().expect("claims").clone());
    match idp.wrong {
        Wrong::Audience => claims["aud"] = json!("others"),
        Wrong::OtherAudienceToo => claims["aud"] = json!(["berth", "others"]),
        Wrong::Issuer => claims["iss"] = json!("https://evil.example"),
        Wrong::Expired => (claims["iat"], claims["exp"]) = (json!(now - 600), json!(now - 300)),
        Wrong::Nonce => claims["nonce"] = json!("of another login"),
        Wrong::NoNonce => drop(claims.as_object_mut().expect("claims").remove("nonce")),
        _ => {}
    }
    let algorithm = if idp.wrong == Wrong::NoSignature { "none" } else { "EdDSA" };
    let head = json!({"alg": algorithm, "typ": "JWT", "kid": kid(&idp.key)});
    let text = format!("{}.{}", BASE64.encode(head.to_string()), BASE64.encode(claims.to_string()));
    let signer = if idp.wrong == Wrong::OtherKey { random_key() } else { idp.key.clone() };
    let mut signature = signer.sign(text.as_bytes()).to_bytes().to_vec();
    match idp.wrong {
        Wrong::Signature => signature[5] ^= 1,
        Wrong::NoSignature => signature.clear(),
        _ => {}
    }
    let token = format!("{text}.{}", BASE64.encode(signature));
    let mut answer = json!({"access_token": "access", "token_type": "Bearer"});
    if idp.wrong != Wrong::NoToken {
        answer["id_token"] = json!(token);
    }
    Json(answer).into_response()
}

async fn userinfo(State(idp): State<Shared>, headers: HeaderMap) -> Response {
    let idp = idp.lock().expect("lock");
    assert_eq!(headers[header::AUTHORIZATION], "Bearer access");
    match &idp.userinfo {
        Some(_) if idp.wrong == Wrong::OtherUserinfo => Json(json!({"sub": "another"})).into_response(),
        Some(claims) => Json(claims.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A provider on a port of its own, and a gateway that trusts it.
async fn both(change: impl FnOnce(&mut OidcSettings)) -> (Shared, Gateway) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let issuer = format!("http://{}", listener.local_addr().expect("an address"));
    let idp = Arc::new(Mutex::new(Idp {
        issuer: issuer.clone(),
        key: random_key(),
        wrong: Wrong::Nothing,
        claims: json!({"sub": "s-1", "preferred_username": "ann", "groups": ["devs"]}),
        userinfo: None,
        codes: HashMap::new(),
    }));
    let routes = Router::new()
        .route("/.well-known/openid-configuration", get(configuration))
        .route("/jwks", get(jwks))
        .route("/authorize", get(authorize))
        .route("/token", post(token))
        .route("/userinfo", get(userinfo))
        .with_state(idp.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let gateway = Gateway::start_with(|settings, folder| {
        let secret = folder.join("oidc.secret");
        std::fs::write(&secret, "s3cret+\n").expect("written");
        settings.oidc = OidcSettings {
            issuer,
            client_id: "berth".into(),
            client_secret_file: secret,
            tenant: "acme".into(),
            roles: [("devs", "developer"), ("ops", "operator")]
                .map(|(group, role)| (group.to_owned(), role.to_owned()))
                .into(),
            provision: true,
            ..OidcSettings::default()
        };
        change(&mut settings.oidc);
    })
    .await;
    let (status, _) = gateway.call("POST", "/v1/tenants", json!({"name": "acme"})).await;
    assert_eq!(status, 200);
    (idp, gateway)
}

async fn ask(gateway: &Gateway, path: &str, body: Value) -> (u16, Value) {
    let request = gateway.http.post(gateway.url(path)).header("content-type", "application/json");
    harness::answer(request.body(body.to_string())).await
}

/// What a browser does: ticket, code and state.
async fn browse(gateway: &Gateway) -> Value {
    let (status, begun) = ask(gateway, "/v1/login/oidc/begin", json!({"redirect_uri": REDIRECT})).await;
    assert_eq!(status, 200, "{begun}");
    let browser = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    let url = begun["authorization_url"].as_str().expect("a URL");
    let answer = browser.get(url).send().await.expect("an answer");
    let back = answer.headers()[header::LOCATION].to_str().expect("ascii").to_owned();
    let (to, query) = back.split_once('?').expect("a query");
    assert_eq!(to, REDIRECT);
    let pairs: HashMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    json!({"ticket": begun["ticket"], "code": pairs["code"], "state": pairs["state"]})
}

async fn login(gateway: &Gateway) -> (u16, Value) {
    let brought = browse(gateway).await;
    ask(gateway, "/v1/login/oidc", brought).await
}

#[tokio::test]
async fn somebody_at_the_provider_is_somebody_here_with_the_roles_of_their_groups() {
    let (idp, gateway) = both(|_| {}).await;
    let (status, opened) = login(&gateway).await;
    assert_eq!((status, &opened["token"]["user"]), (200, &json!("ann@acme")), "{opened}");
    assert_eq!(opened["token"]["kind"], "TOKEN_KIND_SESSION");
    let secret = opened["secret"].as_str().expect("a secret").to_owned();
    let roles = async |secret: &str| {
        let (_, me) = gateway.ask(secret, "", "GET", "/v1/whoami", Value::Null).await;
        me["user"]["roles"].clone()
    };
    assert_eq!(roles(&secret).await, json!([{"role": "developer", "tenant": "acme"}]));
    // other groups, another name, another key of the provider: still the same user
    {
        let mut idp = idp.lock().expect("lock");
        idp.claims = json!({"sub": "s-1", "preferred_username": "ann-smith", "groups": ["ops", "unknown"]});
        idp.key = random_key();
    }
    let (status, again) = login(&gateway).await;
    assert_eq!((status, &again["token"]["user_id"]), (200, &opened["token"]["user_id"]), "{again}");
    assert_eq!(
        roles(&secret).await,
        json!([{"role": "operator", "tenant": "acme"}]),
        "also in the older session"
    );
    // what the id_token lacks is asked for
    {
        let mut idp = idp.lock().expect("lock");
        idp.claims = json!({"sub": "s-2"});
        idp.userinfo = Some(json!({"sub": "s-2", "preferred_username": "bob", "groups": ["devs"]}));
    }
    let (status, bob) = login(&gateway).await;
    assert_eq!((status, &bob["token"]["user"]), (200, &json!("bob@acme")), "{bob}");
    let page = gateway
        .until("GET", "/v1/audit?operation=LoginWithOidc", |(_, page)| {
            page["records"].as_array().is_some_and(|records| records.len() == 3)
        })
        .await;
    assert!(!page.to_string().contains(&secret) && page.to_string().contains("[redacted]"), "{page}");
    // the link is a fold of the events like all of the user
    gateway.stop().await;
}

#[tokio::test]
async fn what_a_provider_says_wrongly_opens_nothing() {
    let (idp, gateway) = both(|_| {}).await;
    for (wrong, about) in [
        (Wrong::Signature, "does not hold"),
        (Wrong::OtherKey, "does not hold"),
        (Wrong::NoSignature, ""),
        (Wrong::Audience, "audience"),
        (Wrong::OtherAudienceToo, "audience"),
        (Wrong::Issuer, "issuer"),
        (Wrong::Expired, "xpired"),
        (Wrong::Nonce, "nonce"),
        (Wrong::NoNonce, "nonce"),
        (Wrong::NoToken, "no id_token"),
    ] {
        idp.lock().expect("lock").wrong = wrong;
        let (status, problem) = login(&gateway).await;
        assert_eq!((status, &problem["code"]), (401, &json!("OIDC_REFUSED")), "{wrong:?}: {problem}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(about), "{wrong:?}: {detail}");
    }
    {
        let mut idp = idp.lock().expect("lock");
        idp.wrong = Wrong::OtherUserinfo;
        idp.claims = json!({"sub": "s-3"});
        idp.userinfo = Some(json!({}));
    }
    let (status, problem) = login(&gateway).await;
    assert_eq!(status, 401, "{problem}");
    let (_, users) = gateway.ask(&gateway.token, "acme", "GET", "/v1/users", Value::Null).await;
    assert_eq!(users["users"], json!([]), "nobody was made");
    // claims that lead nowhere
    idp.lock().expect("lock").wrong = Wrong::Nothing;
    for claims in [
        json!({"sub": "s", "preferred_username": "ann\u{0}", "groups": []}),
        json!({"sub": "s\u{0}", "preferred_username": "ann", "groups": []}),
        json!({"sub": "s", "preferred_username": ["a", "b"], "groups": []}),
    ] {
        idp.lock().expect("lock").claims = claims;
        let (status, problem) = login(&gateway).await;
        assert_eq!((status, &problem["code"]), (401, &json!("OIDC_REFUSED")), "{problem}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_ticket_is_taken_once_by_its_own_login_alone() {
    let (_idp, gateway) = both(|_| {}).await;
    let brought = browse(&gateway).await;
    let (status, _) = ask(&gateway, "/v1/login/oidc", brought.clone()).await;
    assert_eq!(status, 200);
    let (status, problem) = ask(&gateway, "/v1/login/oidc", brought).await;
    assert_eq!((status, &problem["code"]), (401, &json!("OIDC_REFUSED")));
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("used before")), "{problem}");
    // the code of one login with the ticket of another: the proof key does not fit
    let (mine, theirs) = (browse(&gateway).await, browse(&gateway).await);
    let mixed = json!({"ticket": mine["ticket"], "code": theirs["code"], "state": mine["state"]});
    assert_eq!(ask(&gateway, "/v1/login/oidc", mixed).await.0, 401);
    let other_state = json!({"ticket": theirs["ticket"], "code": theirs["code"], "state": mine["state"]});
    assert_eq!(ask(&gateway, "/v1/login/oidc", other_state).await.0, 401);
    let mine = browse(&gateway).await;
    let mut broken = mine.clone();
    let ticket = mine["ticket"].as_str().expect("a ticket");
    broken["ticket"] = json!(format!("{}A{}", &ticket[..60], &ticket[61..]));
    let tampered = broken["ticket"] != mine["ticket"];
    assert!(!tampered || ask(&gateway, "/v1/login/oidc", broken).await.0 == 401);
    for (field, value) in [("ticket", ""), ("code", ""), ("state", "")] {
        let mut empty = mine.clone();
        empty[field] = json!(value);
        let (status, problem) = ask(&gateway, "/v1/login/oidc", empty).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)));
    }
    for wrong in ["https://evil.example/", "http://localhost:1/", ""] {
        let (status, problem) = ask(&gateway, "/v1/login/oidc/begin", json!({"redirect_uri": wrong})).await;
        assert_eq!((status, &problem["field"]), (400, &json!("redirect_uri")), "{wrong}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn without_provisioning_only_users_that_wait_for_it_come_in_and_nobody_is_taken_over() {
    let (idp, gateway) = both(|settings| settings.provision = false).await;
    let admin = gateway.token.clone();
    let make = async |body: Value| gateway.ask(&admin, "acme", "POST", "/v1/users", body).await;
    let (status, problem) = login(&gateway).await;
    assert_eq!(status, 401, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("no user ann@acme")), "{problem}");
    let both_ways = json!({"name": "x", "password": "correct horse battery", "oidc": true});
    assert_eq!(make(both_ways).await.0, 400);
    // a program of that name, and somebody with a password
    for body in [json!({"name": "robot"}), json!({"name": "carol", "password": "correct horse battery"})] {
        let name = body["name"].clone();
        assert_eq!(make(body).await.0, 200);
        idp.lock().expect("lock").claims =
            json!({"sub": format!("takes {name}"), "preferred_username": name});
        let (status, problem) = login(&gateway).await;
        assert_eq!(status, 401, "{name}: {problem}");
    }
    assert_eq!(make(json!({"name": "ann", "oidc": true, "roles": ["auditor"]})).await.0, 200);
    idp.lock().expect("lock").claims = json!({"sub": "s-1", "preferred_username": "ann", "groups": ["ops"]});
    let (status, opened) = login(&gateway).await;
    assert_eq!(status, 200, "{opened}");
    let secret = opened["secret"].as_str().expect("a secret");
    let (_, me) = gateway.ask(secret, "", "GET", "/v1/whoami", Value::Null).await;
    assert_eq!(me["user"]["roles"], json!([{"role": "auditor", "tenant": "acme"}]), "roles are given here");
    // now ann is this one, whoever else is called so
    idp.lock().expect("lock").claims = json!({"sub": "s-2", "preferred_username": "ann"});
    let (status, problem) = login(&gateway).await;
    assert_eq!(status, 401, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("somebody else")), "{problem}");
    assert_eq!(gateway.ask(&admin, "acme", "POST", "/v1/users/ann/disable", json!({})).await.0, 200);
    idp.lock().expect("lock").claims = json!({"sub": "s-1", "preferred_username": "ann"});
    assert_eq!(login(&gateway).await.0, 401);
    gateway.stop().await;
}

#[tokio::test]
async fn names_from_elsewhere_become_names_here_and_nobody_gets_anothers() {
    let (idp, gateway) = both(|_| {}).await;
    let come = async |subject: &str, name: &str| {
        idp.lock().expect("lock").claims =
            json!({"sub": subject, "preferred_username": name, "groups": ["devs"]});
        let (status, opened) = login(&gateway).await;
        assert_eq!(status, 200, "{opened}");
        opened["token"]["user"].as_str().expect("a user").to_owned()
    };
    assert_eq!(come("s-1", "Ann.Smith@example.com").await, "ann-smith@acme");
    let second = come("s-2", "ann_smith").await;
    assert!(second.starts_with("ann-smith-") && second.len() == "ann-smith-12345678@acme".len(), "{second}");
    // the same every time, also when the provider calls them otherwise
    assert_eq!(come("s-1", "ann.smith").await, "ann-smith@acme");
    assert_eq!(come("s-2", "annie").await, second);
    // and whoever is called so letter by letter, but comes later
    let third = come("s-3", "ann-smith").await;
    assert!(third.starts_with("ann-smith-") && third != second, "{third}");
    assert_eq!(come("s-4", "007").await, "u-007@acme");
    let (_, shown) = gateway.ask(&gateway.token, "acme", "GET", "/v1/users/ann-smith", Value::Null).await;
    let description = shown["user"]["description"].as_str().unwrap_or_default();
    assert!(description.contains("Ann.Smith@example.com"), "{shown}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_user_may_wait_for_the_name_that_the_provider_says() {
    let (idp, gateway) = both(|settings| settings.provision = false).await;
    let make = async |body: Value| gateway.ask(&gateway.token, "acme", "POST", "/v1/users", body).await;
    let waits = json!({"name": "ann-smith", "oidc_name": "Ann.Smith@example.com", "roles": ["auditor"]});
    assert_eq!(make(waits).await.0, 200);
    let (status, problem) = make(json!({"name": "other", "oidc_name": "Ann.Smith@example.com"})).await;
    assert_eq!((status, &problem["field"]), (409, &json!("oidc_name")), "{problem}");
    let (status, problem) = make(json!({"name": "other", "oidc_name": "a\u{0}"})).await;
    assert_eq!((status, &problem["field"]), (400, &json!("oidc_name")), "{problem}");
    let come = async |subject: &str, name: &str| {
        idp.lock().expect("lock").claims = json!({"sub": subject, "preferred_username": name});
        login(&gateway).await
    };
    // whoever would be called so here, but is called otherwise there, is somebody else
    for name in ["ann.smith", "ann-smith", "ANN.SMITH@evil.example"] {
        let (status, problem) = come("s-2", name).await;
        assert_eq!((status, &problem["code"]), (401, &json!("OIDC_REFUSED")), "{name}: {problem}");
    }
    let (status, opened) = come("s-1", "Ann.Smith@example.com").await;
    assert_eq!((status, &opened["token"]["user"]), (200, &json!("ann-smith@acme")), "{opened}");
    assert_eq!(come("s-2", "Ann.Smith@example.com").await.0, 401, "she is somebody now");
    gateway.stop().await;
}

#[tokio::test]
async fn a_provider_that_is_away_is_said_to_be() {
    let gateway = Gateway::start_with(|settings, _| {
        settings.oidc = OidcSettings {
            issuer: "http://127.0.0.1:1".into(),
            client_id: "berth".into(),
            tenant: "acme".into(),
            ..OidcSettings::default()
        };
    })
    .await;
    let (status, problem) = ask(&gateway, "/v1/login/oidc/begin", json!({"redirect_uri": REDIRECT})).await;
    assert_eq!((status, &problem["code"]), (503, &json!("OIDC_AWAY")), "{problem}");
    gateway.stop().await;
    let gateway = Gateway::start().await;
    let (status, problem) = ask(&gateway, "/v1/login/oidc/begin", json!({"redirect_uri": REDIRECT})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("OIDC_OFF")), "{problem}");
    gateway.stop().await;
}
