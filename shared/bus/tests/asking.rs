//! Questions over a real broker: answered, refused, and not answered in each of the ways there are.
#![allow(missing_docs)]

use async_trait::async_trait;
use bus::{Answer, Answers, AskError, Asking, Connection, Report};
use contracts::Question as _;
use contracts::common::v1::Refusal as SaidRefusal;
use contracts::scheduler::v1::{PlacementPreview, PreviewPlacement};
use kernel::Refusal;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testkit::{NatsServer, eventually};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// For what the broker does.
const SOON: Duration = Duration::from_secs(20);

/// Answers with the name of who is asked and what the asker said of itself; "refuse" is refused, "fail" fails, and "wait"
/// is answered when it may.
struct Echo {
    who: &'static str,
    asked: Arc<AtomicUsize>,
    may: Arc<Semaphore>,
}

#[async_trait]
impl Answer<PreviewPlacement> for Echo {
    async fn answer(
        &self,
        asking: &Asking,
        q: PreviewPlacement,
    ) -> Result<PlacementPreview, Option<Refusal>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match q.name.as_str() {
            "refuse" => return Err(Some(Refusal::new("NO", "not for you").because(["so it is".to_owned()]))),
            "fail" => return Err(None),
            "wait" => drop(self.may.acquire().await),
            _ => {}
        }
        let message = format!("{} {} {}", asking.tenant, asking.actor, q.name);
        let refusal = SaidRefusal { code: self.who.to_owned(), message, reasons: Vec::new() };
        Ok(PlacementPreview { refusal: Some(refusal), decision: None })
    }
}

/// A process that answers.
struct Owner {
    asked: Arc<AtomicUsize>,
    may: Arc<Semaphore>,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Owner {
    fn start(bus: &Connection, who: &'static str) -> Self {
        let (asked, may, stop) =
            (Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(0)), CancellationToken::new());
        let answers = Answers::new("scheduler").on(Echo { who, asked: asked.clone(), may: may.clone() });
        let meter = opentelemetry::global::meter("test");
        let serving = tokio::spawn(answers.serve(bus.clone(), meter, Report::none(), stop.clone()));
        Self { asked, may, stop, serving }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn ask(bus: &Connection, name: &str, patience: Duration) -> Result<PlacementPreview, AskError> {
    let question = PreviewPlacement { name: name.to_owned(), ..PreviewPlacement::default() };
    let asking = Asking { tenant: "acme".into(), actor: "ann".into() };
    bus.ask(&question, &asking, patience).await
}

/// The answer as soon as somebody listens.
async fn answer(bus: &Connection, name: &str) -> SaidRefusal {
    let got = eventually(SOON, "an answer", async || ask(bus, name, SOON).await.ok()).await;
    got.refusal.expect("an answer")
}

#[tokio::test]
async fn an_answer_comes_back_and_so_does_a_refusal() {
    let nats = NatsServer::start().await;
    let (bus, asker) = (nats.connect().await, nats.connect().await);
    let _owner = Owner::start(&bus, "one");
    let got = answer(&asker, "web-1").await;
    assert_eq!((got.code.as_str(), got.message.as_str()), ("one", "acme ann web-1"));
    let refused = ask(&asker, "refuse", SOON).await.expect_err("refused");
    let AskError::Refused(refusal) = refused else { panic!("{refused}") };
    assert_eq!((refusal.code.as_str(), refusal.reasons), ("NO", vec!["so it is".to_owned()]));
}

#[tokio::test]
async fn who_is_away_is_told_at_once_and_who_comes_back_is_asked_again() {
    let nats = NatsServer::start().await;
    let (bus, asker) = (nats.connect().await, nats.connect().await);
    let began = Instant::now();
    assert_eq!(ask(&asker, "x", SOON).await, Err(AskError::Away("scheduler")));
    // after the second try, and long before a question is given up
    assert!(began.elapsed() >= Duration::from_millis(250) && began.elapsed() < Duration::from_secs(4));
    // it begins to listen between the two tries
    let (asked, owner) = tokio::join!(ask(&asker, "x", SOON), async {
        tokio::task::yield_now().await;
        Owner::start(&bus, "one")
    });
    assert!(asked.is_ok() || owner.asked() == 0, "{asked:?}");
    // one that stops answers what it has, and is away then
    answer(&asker, "x").await;
    owner.stop.cancel();
    owner.serving.await.expect("it ends");
    assert_eq!(ask(&asker, "x", SOON).await, Err(AskError::Away("scheduler")));
}

#[tokio::test]
async fn replicas_share_the_questions() {
    let nats = NatsServer::start().await;
    let (one, two, asker) = (nats.connect().await, nats.connect().await, nats.connect().await);
    let (one, two) = (Owner::start(&one, "one"), Owner::start(&two, "two"));
    eventually(SOON, "both to be asked", async || {
        ask(&asker, "x", SOON).await.ok()?;
        (one.asked() > 0 && two.asked() > 0).then_some(())
    })
    .await;
    let before = one.asked() + two.asked();
    for _ in 0..20 {
        ask(&asker, "x", SOON).await.expect("an answer");
    }
    assert_eq!(one.asked() + two.asked(), before + 20, "each was asked of one of them");
}

#[tokio::test]
async fn a_question_too_many_is_told_so_and_a_slow_one_is_given_up() {
    let nats = NatsServer::start().await;
    let (bus, asker) = (nats.connect().await, nats.connect().await);
    let owner = Owner::start(&bus, "one");
    answer(&asker, "x").await;
    let before = owner.asked();
    let slow = ask(&asker, "wait", Duration::from_millis(50)).await;
    assert_eq!(slow, Err(AskError::Slow("scheduler", Duration::from_millis(50))));
    assert_eq!(
        ask(&asker, "fail", Duration::from_millis(50)).await,
        Err(AskError::Slow("scheduler", Duration::from_millis(50)))
    );
    // one waits already; as many as there is room for, and one more
    let waiting: Vec<_> = (0..63)
        .map(|_| {
            let asker = asker.clone();
            tokio::spawn(async move { ask(&asker, "wait", SOON).await })
        })
        .collect();
    eventually(SOON, "all to be asked", async || (owner.asked() == before + 65).then_some(())).await;
    assert_eq!(ask(&asker, "x", SOON).await, Err(AskError::Busy("scheduler")));
    owner.may.add_permits(1_000);
    for asked in waiting {
        asked.await.expect("it ends").expect("an answer");
    }
    assert!(ask(&asker, "x", SOON).await.is_ok(), "there is room again");
}

#[tokio::test]
async fn garbage_is_answered_and_harms_nobody() {
    let nats = NatsServer::start().await;
    let (bus, asker) = (nats.connect().await, nats.connect().await);
    let _owner = Owner::start(&bus, "one");
    answer(&asker, "x").await;
    let garbage = asker.client().request(PreviewPlacement::subject(), vec![0xff; 64].into());
    let reply = garbage.await.expect("a reply");
    let reason = reply.headers.as_ref().and_then(|headers| headers.get("No-Answer"));
    assert_eq!(reason.map(|reason| reason.as_str()), Some("unreadable"));
    // nobody to answer
    asker.client().publish(PreviewPlacement::subject(), vec![1, 2, 3].into()).await.expect("sent");
    assert_eq!(answer(&asker, "web-1").await.message, "acme ann web-1");
}
