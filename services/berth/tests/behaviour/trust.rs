//! TLS: only a gateway whose certificate comes from the given authority is talked to.

use super::fake::Fake;
use super::running::Berth;
use contracts::gateway::v1::{Flavor, ListFlavorsResponse};

struct Authority {
    pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

fn authority() -> Authority {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = parameters.self_signed(&key).unwrap().pem();
    Authority { pem, issuer: rcgen::Issuer::new(parameters, key) }
}

/// A gateway whose certificate is signed by the authority and names `host`.
async fn gateway(authority: &Authority, host: &str) -> Fake {
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &authority.issuer).unwrap();
    let fake = Fake::start_tls(&certificate.pem(), &key.serialize_pem()).await;
    fake.answer(
        "ListFlavors",
        &ListFlavorsResponse { flavors: vec![Flavor { name: "small".into(), ..Flavor::default() }] },
    );
    fake
}

fn berth(fake: &Fake, trusted: &Authority) -> Berth {
    let berth = Berth::at(fake).variable("BERTH_TOKEN", "secret-1").variable("BERTH_ATTEMPTS", "2");
    let file = berth.file("ca.pem", trusted.pem.as_bytes());
    berth.variable("BERTH_CA_FILE", &file)
}

#[tokio::test]
async fn a_gateway_of_the_given_authority_is_trusted() {
    let authority = authority();
    let fake = gateway(&authority, "127.0.0.1").await;
    let outcome = berth(&fake, &authority).run("flavor list").await;
    assert!(outcome.code == 0 && outcome.out.contains("small"), "{outcome:?}");
    assert_eq!(fake.calls("ListFlavors")[0].authorization, "Bearer secret-1");
}

#[tokio::test]
async fn any_other_gateway_hears_nothing() {
    let (ours, other) = (authority(), authority());
    for fake in [gateway(&other, "127.0.0.1").await, gateway(&ours, "elsewhere.example.com").await] {
        let outcome = berth(&fake, &ours).run("flavor list").await;
        assert_eq!(outcome.code, 5, "{outcome:?}");
        assert!(outcome.err.contains("certificate"), "{outcome:?}");
        assert!(fake.all_calls().is_empty() && !outcome.err.contains("secret-1"), "{outcome:?}");
    }
}

#[tokio::test]
async fn the_wrong_scheme_is_told_with_the_right_one() {
    let authority = authority();
    let secure = gateway(&authority, "127.0.0.1").await;
    let plainly = secure.endpoint.replace("https", "http");
    let outcome = berth(&secure, &authority).run(&format!("flavor list --endpoint {plainly}")).await;
    assert_eq!(outcome.code, 5, "{outcome:?}");
    assert!(outcome.err.contains(&format!("hint: it speaks TLS: write {}", secure.endpoint)), "{outcome:?}");

    let plain = Fake::start().await;
    let securely = plain.endpoint.replace("http", "https");
    let outcome = berth(&plain, &authority).run(&format!("flavor list --endpoint {securely}")).await;
    assert_eq!(outcome.code, 5, "{outcome:?}");
    assert!(
        outcome.err.contains(&format!("hint: it speaks without TLS: write {}", plain.endpoint)),
        "{outcome:?}"
    );
}
