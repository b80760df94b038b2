//! What is read is what was sent, and what is wrong is named.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn value(event: &ExternalEvent) -> Value {
    serde_json::from_str(&original(event)).expect("json")
}

#[test]
fn a_document_goes_in_and_comes_out_letter_by_letter() {
    let data = r#"{ "amount": 12345678901234567890123.10, "b":[1, 2] }"#;
    let text = format!(
        r#"{{"specversion":"1.0","id":"7","source":"/shop","type":"com.example.paid","subject":"order-1",
        "time":"2026-01-31T12:00:00Z","datacontenttype":"application/json","dataschema":"https://example.com/s",
        "sampled":true,"priority":-3,"region":"eu","nothing":null,"data":{data}}}"#
    );
    let event = structured(&text).expect("right");
    assert_eq!(check(&event), Ok(()));
    assert!(original(&event).ends_with(&format!("\"data\":{data}}}")), "{}", original(&event));
    let shown = value(&event);
    assert_eq!(
        (&shown["sampled"], &shown["priority"], &shown["region"]),
        (&json!(true), &json!(-3), &json!("eu"))
    );
    assert_eq!(shown.get("nothing"), None);
    assert_eq!(structured(&original(&event)), Ok(event));
}

#[test]
fn data_is_json_text_or_bytes() {
    let with = |more: &str| {
        let text = format!(r#"{{"specversion":"1.0","id":"7","source":"/s","type":"t"{more}}}"#);
        structured(&text)
    };
    assert_eq!(with("").expect("right").data, None);
    assert_eq!(with(r#","data":null"#).expect("right").data, Some(Data::Json("null".into())));
    // unset in one of the two forms, or for what is no JSON
    let bytes = Some(Data::Binary(vec![0, 1, 255]));
    assert_eq!(with(r#","data":null,"data_base64":"AAH/""#).expect("right").data, bytes);
    assert_eq!(with(r#","data_base64":null,"data":7"#).expect("right").data, Some(Data::Json("7".into())));
    assert_eq!(with(r#","datacontenttype":"text/plain","data":null"#).expect("right").data, None);
    let nul = with(r#","datacontenttype":"text/plain","data":"a\u0000""#).expect("right");
    assert_eq!(nul.data, Some(Data::Binary(b"a\0".to_vec())));
    assert_eq!(with(r#","data":"x""#).expect("right").data, Some(Data::Json("\"x\"".into())));
    let text = with(r#","datacontenttype":"text/plain","data":"x\ny""#).expect("right");
    assert_eq!(text.data, Some(Data::Text("x\ny".into())));
    let bytes = with(r#","data_base64":"AAH/""#).expect("right");
    assert_eq!(bytes.data, Some(Data::Binary(vec![0, 1, 255])));
    for event in [text, bytes] {
        assert_eq!(structured(&original(&event)), Ok(event));
    }
    for (wrong, field) in [
        (r#","data":1,"data_base64":"AAH/""#, "data_base64"),
        (r#","data_base64":"%""#, "data_base64"),
        (r#","data_base64":7"#, "data_base64"),
        (r#","id":"8""#, "id"),
        (r#","subject":7"#, "subject"),
        (r#","subject":"""#, "subject"),
        (r#","other":{}"#, "other"),
        (r#","other":1.5"#, "other"),
        (r#","other":3000000000"#, "other"),
    ] {
        assert_eq!(with(wrong).expect_err(wrong).field, field, "{wrong}");
    }
    for (text, field) in [
        ("{", ""),
        ("[]", ""),
        ("7", ""),
        (r#"{"specversion":"1.0","id":"7","source":"/s"}"#, "type"),
        (r#"{"id":"7","source":"/s","type":"t"}"#, "specversion"),
    ] {
        assert_eq!(structured(text).expect_err(text).field, field, "{text}");
    }
}

#[test]
fn a_batch_names_the_event_that_is_wrong() {
    let one = r#"{"specversion":"1.0","id":"7","source":"/s","type":"t"}"#;
    assert_eq!(batch(&format!("[{one}, {one}]")).expect("right").len(), 2);
    assert_eq!(batch("[]"), Ok(vec![]));
    assert_eq!(batch(one).expect_err("no array").field, "");
    assert_eq!(batch(&format!("[{one},{{}}]")).expect_err("missing").field, "[1].specversion");
    assert_eq!(batch(&format!("[{one},7]")).expect_err("no object").field, "[1]");
    let many = vec![one; EVENTS_AT_ONCE + 1].join(",");
    assert!(batch(&format!("[{many}]")).expect_err("many").message.contains("at most 100"));
    let event = structured(one).expect("right");
    let bad = ExternalEvent { source: "a b".into(), ..event.clone() };
    assert_eq!(check_all("events", &[event, bad], 10).expect_err("wrong").field, "events[1].source");
    assert_eq!(check_all("events", &[], 10), Ok(()), "an empty batch is a batch");
}

#[test]
fn limits_hold() {
    let one = ExternalEvent {
        specversion: "1.0".into(),
        id: "7".into(),
        source: "/s".into(),
        r#type: "t".into(),
        ..ExternalEvent::default()
    };
    let with = |data: Data| check(&ExternalEvent { data: Some(data), ..one.clone() });
    assert_eq!(with(Data::Binary(vec![0; EVENT.length() - 64])), Ok(()));
    assert_eq!(with(Data::Binary(vec![0; EVENT.length()])).expect_err("long").field, "data");
    let nested = |deep: usize| Data::Json("[".repeat(deep) + &"]".repeat(deep));
    assert_eq!(with(nested(DEPTH_LIMIT)), Ok(()));
    assert!(with(nested(DEPTH_LIMIT + 1)).expect_err("deep").message.contains("too deep"));
    assert!(with(Data::Json("[".repeat(20_000))).expect_err("deep").message.contains("too deep"));
    assert_eq!(with(Data::Json("{1}".into())).expect_err("no json").field, "data");
    let text = |text: &str| ExternalAttribute { value: Some(Attribute::Text(text.into())) };
    let many =
        |count: usize| (0..count).map(|n| (format!("averylongnameofanextension{n}"), text("x"))).collect();
    let extended = |extensions| check(&ExternalEvent { extensions, ..one.clone() });
    assert_eq!(extended(many(100)), Ok(()));
    assert_eq!(extended(many(10_000)).expect_err("more than an event may have").field, "data");
    let long =
        ExternalEvent { id: "i".repeat(4000), source: format!("/{}", "s".repeat(4000)), ..one.clone() };
    assert_eq!(check(&long), Ok(()));
    for name in ["Upper", "id", "data", ""] {
        let wrong = extended([(name.to_owned(), text("x"))].into()).expect_err(name);
        assert_eq!(wrong.field, name);
    }
    let empty = ExternalAttribute { value: None };
    assert_eq!(extended([("a".to_owned(), empty)].into()).expect_err("no value").field, "a");
}

#[test]
fn headers_are_attributes() {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "\"a\\\"b\""),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("ce-region", "eu"),
        ("content-type", "text/plain"),
        ("authorization", "Bearer x"),
    ];
    let event = binary(headers.into_iter(), b"hello").expect("right");
    assert_eq!((event.id.as_str(), event.subject.as_str()), ("a\"b", "Euro € 😀"));
    assert_eq!(event.data, Some(Data::Text("hello".into())));
    assert_eq!(value(&event)["region"], "eu");
    assert!(!original(&event).contains("Bearer"));
    let of = |media_type: &str, body: &[u8]| {
        let kept = headers.into_iter().filter(|(name, _)| *name != "content-type");
        binary(kept.chain([("content-type", media_type)]), body).expect("right").data
    };
    assert_eq!(of("application/json", b"{\"a\": 1}"), Some(Data::Json("{\"a\": 1}".into())));
    assert_eq!(of("application/octet-stream", b"x"), Some(Data::Binary(b"x".to_vec())));
    assert_eq!(of("text/plain", &[0xff]), Some(Data::Binary(vec![0xff])));
    assert_eq!(of("application/json", b""), None);
    for (name, value, field) in [
        ("ce-id", "%ff", "ce-id"),
        ("ce-type", "", "ce-type"),
        ("ce-datacontenttype", "text/plain", "ce-datacontenttype"),
    ] {
        let changed = headers.into_iter().filter(|(kept, _)| *kept != name).chain([(name, value)]);
        assert_eq!(binary(changed, b"").expect_err(value).field, field, "{name}: {value}");
    }
    let named = |id: &'static str| {
        let others = headers.into_iter().filter(|(name, _)| *name != "ce-id");
        binary(others.chain([("ce-id", id)]), b"").expect(id).id
    };
    assert_eq!(
        (named("100%"), named("50%zz"), named("a%20b")),
        ("100%".into(), "50%zz".into(), "a b".into())
    );
    let missing = headers.into_iter().filter(|(name, _)| *name != "ce-source");
    assert_eq!(binary(missing, b"").expect_err("missing").field, "ce-source");
    let twice = headers.into_iter().chain([("ce-id", "b")]);
    assert_eq!(binary(twice, b"").expect_err("twice").field, "ce-id");
}

#[test]
fn one_thing_has_one_key() {
    let of = |source: &str, subject: &str| {
        key(&ExternalEvent { source: source.into(), subject: subject.into(), ..ExternalEvent::default() })
    };
    assert_eq!(of("/a", "b"), of("/a", "b"));
    assert_ne!(of("/a", "b"), of("/ab", ""));
    assert!(of("/a", "").len() == 32 && of("/a", "").chars().all(|c| c.is_ascii_hexdigit()));
}

fn any_event() -> impl Strategy<Value = ExternalEvent> {
    let text = "[ -~äß€]{1,20}";
    let data = prop_oneof![
        Just(None),
        text.prop_map(|t| Some(Data::Json(Value::from(t).to_string()))),
        any::<f64>().prop_map(|f| Some(Data::Json(json!([{"x": f}]).to_string()))),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|b| Some(Data::Binary(b))),
    ];
    let attribute = prop_oneof![
        text.prop_map(Attribute::Text),
        any::<bool>().prop_map(Attribute::Boolean),
        any::<i32>().prop_map(Attribute::Integer),
    ];
    let extensions = proptest::collection::btree_map("x[a-z0-9]{1,19}", attribute, 0..4);
    (text, "/[a-z0-9/]{0,20}", text, extensions, data).prop_map(|(id, source, kind, extensions, data)| {
        let extension = |(name, value)| (name, ExternalAttribute { value: Some(value) });
        ExternalEvent {
            specversion: "1.0".into(),
            id,
            source,
            r#type: kind,
            extensions: extensions.into_iter().map(extension).collect(),
            data,
            ..ExternalEvent::default()
        }
    })
}

proptest! {
    #[test]
    fn whatever_is_right_comes_out_as_it_went_in(event in any_event()) {
        prop_assert_eq!(check(&event), Ok(()));
        prop_assert_eq!(structured(&original(&event)), Ok(event));
    }

    #[test]
    fn no_text_breaks_the_reader(text in "[\\[\\]{}\",:a-z0-9\\\\ ]{0,60}") {
        if let Ok(event) = structured(&text) {
            let _ = check(&event);
        }
        let _ = batch(&text);
    }
}
