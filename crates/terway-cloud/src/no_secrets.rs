//! Keys stay out of everything a run leaves behind: logs at every level, debug output, errors, the journal.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use crate::aliyun::{Aliyun, AliyunConfig, AliyunKeys, AliyunMetadata, Lingjun, Place, Signature};
use crate::calls::tests::Kept;
use crate::loopback::{Answer, Seen, Server};
use crate::tencent::{Tencent, TencentConfig, TencentKeys, TencentMetadata};
use crate::{Budget, CallSink, Chain, Cloud, CredentialSource, EniFilter, KeyPlaces, fault};

const ID: &str = "LTAI-of-this-test";
const SECRET: &str = "secret-of-this-test";
const TOKEN: &str = "token-of-this-test";

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Both clouds' metadata services and APIs, the API in a bad mood: it quotes what it was sent.
fn quoting(seen: &Seen) -> Answer {
    let role = format!(
        r#"{{"Code":"Success","AccessKeyId":"{ID}","AccessKeySecret":"{SECRET}","SecurityToken":"{TOKEN}",
        "Expiration":"2126-01-01T00:00:00Z","TmpSecretId":"{ID}","TmpSecretKey":"{SECRET}","Token":"{TOKEN}",
        "ExpiredTime":4900000000}}"#
    );
    let quoted = format!("refused {ID} with {TOKEN}, secret {SECRET}");
    match seen.path.trim_start_matches("/latest/") {
        "api/token" => Answer::ok("metadata-token"),
        path if path.ends_with("security-credentials/") => Answer::ok("R"),
        path if path.ends_with("security-credentials/R") => Answer::ok(role),
        _ if !seen.header("x-tc-action").is_empty() => Answer::ok(format!(
            r#"{{"Response":{{"Error":{{"Code":"AuthFailure.TokenFailure","Message":"{quoted}"}}}}}}"#
        )),
        _ => Answer::refusal(403, "InvalidSecurityToken.Expired", &quoted),
    }
}

/// What a cloud with keys of this chain tells when all goes wrong.
async fn told(cloud: &dyn Cloud, chain: &Chain) -> String {
    let key = chain.access_key().await.unwrap();
    assert_eq!((key.secret(), key.token()), (SECRET, Some(TOKEN)));
    let describe = cloud.describe_enis(&EniFilter::default()).await.unwrap_err();
    let delete = cloud.delete_eni(&"eni-1".into()).await.unwrap_err();
    format!("{cloud:?} {chain:?} {key:?} {describe:?} {describe} {delete:?} {}", fault(&delete))
}

#[tokio::test]
async fn nothing_of_a_key_is_left_anywhere() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let server = Server::start(quoting).await;
    let url = format!("http://{}", server.host);
    let kept = Arc::new(Kept::default());
    let calls = || Some(Arc::clone(&kept) as Arc<dyn CallSink>);
    let nowhere = || Path::new("/nonexistent").to_owned();
    let places = || KeyPlaces {
        secret_directory: Some(nowhere()),
        environment: Arc::new(|_| None),
        ..KeyPlaces::default()
    };
    let mut texts = Vec::new();
    for signature in [Signature::Acs3, Signature::RpcV1] {
        let metadata = Arc::new(AliyunMetadata::new(&url).unwrap());
        let keys = AliyunKeys {
            places: places(),
            addon_token: nowhere(),
            ..AliyunKeys::new("cn-hangzhou", metadata)
        };
        let chain = Arc::new(keys.chain().unwrap());
        let credentials = Arc::clone(&chain) as Arc<dyn CredentialSource>;
        let config = AliyunConfig {
            ecs_endpoint: Some(url.clone()),
            signature,
            calls: calls(),
            proxies: false,
            ..AliyunConfig::new("cn-hangzhou", credentials, Arc::new(Budget::default()))
        };
        texts.push(format!("{config:?}"));
        texts.push(told(&Aliyun::new(config.clone()).unwrap(), &chain).await);
        let place = Place { node: "e01-cn-1".into(), vpc: "vpc-1".to_owned(), zone: "z".into() };
        let config = AliyunConfig { eflo_endpoint: Some(url.clone()), ..config };
        texts.push(told(&Lingjun::new(config, place).unwrap(), &chain).await);
    }
    let keys = TencentKeys {
        places: places(),
        ..TencentKeys::new("ap-guangzhou", Arc::new(TencentMetadata::new(&url).unwrap()))
    };
    let chain = Arc::new(keys.chain().unwrap());
    let credentials = Arc::clone(&chain) as Arc<dyn CredentialSource>;
    let budget = Arc::new(Budget::default());
    let config = TencentConfig {
        vpc_endpoint: Some(url),
        calls: calls(),
        proxies: false,
        ..TencentConfig::new("ap-guangzhou", "vpc-1", "ins-1".into(), credentials, budget)
    };
    texts.push(told(&Tencent::new(config).unwrap(), &chain).await);
    texts.push(format!("{:?}", kept.records()));
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("cloud key in use"), "the log is caught: {logged}");
    texts.push(logged);
    assert!(kept.records().len() >= 10);
    for (text, part) in
        texts.iter().flat_map(|text| [ID, SECRET, TOKEN, "metadata-token"].map(|part| (text, part)))
    {
        assert!(!text.contains(part), "{part} is in {text}");
    }
}
