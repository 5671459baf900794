//! The chain with links that do as they are told, under a clock of its own.

use std::collections::VecDeque;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

/// A clock that is set by hand.
#[derive(Clone)]
struct Clock(Arc<Mutex<Timestamp>>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new("2026-11-21T08:00:00Z".parse().unwrap())))
    }

    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn advance(&self, by: Duration) {
        let later = self.now() + by;
        *self.0.lock().unwrap() = later;
    }
}

/// A link that gives what it was told, one after the other, and the last for ever.
#[derive(Clone, Debug)]
struct Told(&'static str, Arc<Mutex<VecDeque<Give>>>);

#[derive(Clone, Debug)]
enum Give {
    Key(&'static str, Option<Timestamp>, Option<Duration>),
    Error(LinkError),
}

impl Told {
    fn new(name: &'static str, gives: impl IntoIterator<Item = Give>) -> Self {
        Self(name, Arc::new(Mutex::new(gives.into_iter().collect())))
    }

    fn absent(name: &'static str) -> Self {
        Self::new(name, [Give::Error(LinkError::Absent("nothing there".into()))])
    }

    fn left(&self) -> usize {
        self.1.lock().unwrap().len()
    }
}

#[async_trait]
impl Link for Told {
    fn name(&self) -> String {
        self.0.to_owned()
    }

    async fn fetch(&self) -> Result<Fetched, LinkError> {
        let mut gives = self.1.lock().unwrap();
        let give = if gives.len() > 1 { gives.pop_front() } else { gives.front().cloned() };
        match give.unwrap() {
            Give::Key(id, expires, recheck) => {
                let key = AccessKey::new(id, "top-secret".into(), None).unwrap();
                Ok(Fetched { key, expires, recheck })
            }
            Give::Error(error) => Err(error),
        }
    }
}

fn chain(clock: &Clock, links: impl IntoIterator<Item = Told>) -> Chain {
    let clock = clock.clone();
    let links = links.into_iter().map(|link| Box::new(link) as Box<dyn Link>).collect();
    Chain::with_clock(links, Arc::new(move || clock.now()))
}

async fn id(chain: &Chain) -> String {
    chain.access_key().await.unwrap().id().to_owned()
}

#[tokio::test]
async fn the_first_link_with_a_key_wins() {
    let first = Told::absent("first");
    let second = Told::new("second", [Give::Key("two", None, None)]);
    let third = Told::new("third", [Give::Key("three", None, None)]);
    let chain = chain(&Clock::new(), [first, second, third]);
    assert_eq!(chain.in_use(), None);
    assert_eq!(id(&chain).await, "two");
    assert_eq!(chain.in_use().as_deref(), Some("second"));
}

#[tokio::test]
async fn no_key_at_all_names_every_place_and_its_reason() {
    let broken = Give::Error(LinkError::Broken("access-key-secret is missing".into()));
    let chain = chain(&Clock::new(), [Told::absent("the file"), Told::new("the secret", [broken])]);
    let failure = chain.access_key().await.unwrap_err();
    assert_eq!(failure.kind, Kind::Denied);
    assert_eq!(
        failure.message,
        "no key for the cloud; tried the file: not set up: nothing there; \
         the secret: access-key-secret is missing"
    );
}

#[tokio::test]
async fn what_may_pass_is_called_transient() {
    let failed = Give::Error(LinkError::Failed("HTTP status 500".into()));
    let chain = chain(&Clock::new(), [Told::absent("the file"), Told::new("the role", [failed])]);
    assert_eq!(chain.access_key().await.unwrap_err().kind, Kind::Transient);
}

#[tokio::test]
async fn a_key_is_fetched_anew_half_an_hour_before_it_expires() {
    let clock = Clock::new();
    let (first, second) = (clock.now() + MINUTE * 360, clock.now() + MINUTE * 720);
    let role = Told::new("role", [Give::Key("a", Some(first), None), Give::Key("b", Some(second), None)]);
    let chain = chain(&clock, [role]);
    assert_eq!(id(&chain).await, "a");
    clock.advance(MINUTE * 329);
    assert_eq!(id(&chain).await, "a");
    clock.advance(MINUTE * 2);
    assert_eq!(id(&chain).await, "b");
}

#[tokio::test]
async fn a_key_with_a_short_life_is_used_for_two_thirds_of_it() {
    let clock = Clock::new();
    let (first, second) = (clock.now() + MINUTE * 15, clock.now() + MINUTE * 25);
    let role = Told::new("role", [Give::Key("a", Some(first), None), Give::Key("b", Some(second), None)]);
    let chain = chain(&clock, [role]);
    for (advance, expected) in [(0, "a"), (9, "a"), (2, "b")] {
        clock.advance(MINUTE * advance);
        assert_eq!(id(&chain).await, expected);
    }
}

#[tokio::test]
async fn a_valid_key_outlives_failures_to_fetch_another() {
    let clock = Clock::new();
    let expires = clock.now() + MINUTE * 60;
    let failed = || Give::Error(LinkError::Failed("no answer".into()));
    let role = Told::new("role", [Give::Key("a", Some(expires), None), failed(), failed(), failed()]);
    let chain = chain(&clock, [role.clone()]);
    assert_eq!(id(&chain).await, "a");
    clock.advance(MINUTE * 45);
    assert_eq!((id(&chain).await, role.left()), ("a".into(), 2));
    assert_eq!((id(&chain).await, role.left()), ("a".into(), 2), "not at every call");
    clock.advance(MINUTE);
    assert_eq!((id(&chain).await, role.left()), ("a".into(), 1));
    clock.advance(MINUTE * 15);
    assert_eq!(chain.access_key().await.unwrap_err().kind, Kind::Transient, "expired");
}

#[tokio::test]
async fn a_replaced_file_counts_without_a_restart() {
    let clock = Clock::new();
    let often = Some(Duration::from_secs(10));
    let file = Told::new("file", [Give::Key("a", None, often), Give::Key("b", None, often)]);
    let chain = chain(&clock, [file]);
    assert_eq!(id(&chain).await, "a");
    assert_eq!(id(&chain).await, "a");
    clock.advance(Duration::from_secs(11));
    assert_eq!(id(&chain).await, "b");
}

#[tokio::test]
async fn a_refused_key_is_replaced_unless_it_is_new() {
    let clock = Clock::new();
    let role = Told::new("role", [Give::Key("a", None, None), Give::Key("b", None, None)]);
    let chain = chain(&clock, [role]);
    let key = chain.access_key().await.unwrap();
    assert!(!chain.refused(&key), "it was fetched just now: another would be the same");
    clock.advance(MINUTE);
    assert!(chain.refused(&key));
    assert_eq!(id(&chain).await, "b");
    assert!(chain.refused(&key), "somebody has replaced it meanwhile");
    assert_eq!(id(&chain).await, "b");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_hangs_does_not_hold_up_the_chain() {
    #[derive(Debug)]
    struct Hanging;

    #[async_trait]
    impl Link for Hanging {
        fn name(&self) -> String {
            "hanging".to_owned()
        }

        async fn fetch(&self) -> Result<Fetched, LinkError> {
            std::future::pending().await
        }
    }

    let next = Told::new("next", [Give::Key("n", None, None)]);
    let chain = Chain::new(vec![Box::new(Hanging), Box::new(next)]);
    assert_eq!(id(&chain).await, "n");
}

#[tokio::test]
async fn nothing_of_a_key_is_shown() {
    let chain = chain(&Clock::new(), [Told::new("role", [Give::Key("LTAI-id", None, None)])]);
    chain.access_key().await.unwrap();
    let shown = format!("{chain:?}");
    assert!(!shown.contains("top-secret"), "{shown}");
}
