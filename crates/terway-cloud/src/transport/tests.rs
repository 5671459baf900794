//! TLS against servers on loopback. The certificates in `tests/` were made with openssl for this purpose: an
//! authority, servers of its, and another authority.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const CA: &[u8] = include_bytes!("tests/ca.pem");
const OTHER_CA: &[u8] = include_bytes!("tests/other-ca.pem");

/// A server's certificate and key.
type Identity = (&'static [u8], &'static [u8]);
const SERVER: Identity = (include_bytes!("tests/server.pem"), include_bytes!("tests/server.key"));
const ELSEWHERE: Identity = (include_bytes!("tests/elsewhere.pem"), include_bytes!("tests/elsewhere.key"));
const EXPIRED: Identity = (include_bytes!("tests/expired.pem"), include_bytes!("tests/expired.key"));

/// A TLS server that answers everything with an empty JSON object.
async fn serve((certificate, key): Identity) -> String {
    let _ = ring::default_provider().install_default();
    let certificates = vec![CertificateDer::from_pem_slice(certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not like the certificate hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_ok() {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    url
}

fn options(trust: Trust) -> ClientOptions {
    let timeouts = Timeouts { connect: Duration::from_secs(5), total: Duration::from_secs(5) };
    ClientOptions { timeouts, tls: true, trust, proxies: false }
}

/// What a client that believes these gets from this server.
async fn asked(trust: Trust, url: &str) -> Result<Vec<u8>, reqwest::Error> {
    let response = client(&options(trust)).unwrap().post(url).send().await?;
    Ok(read_body(response, 100).await.unwrap())
}

async fn refused(trust: Trust, identity: Identity) -> String {
    let error = asked(trust, &serve(identity).await).await.unwrap_err();
    assert_eq!(broken(&error, true), CloudFailureKind::Transient, "nothing was sent: {error:?}");
    chain(&error.without_url())
}

#[tokio::test]
async fn a_given_authority_is_believed() {
    assert_eq!(asked(Trust::Given(CA.to_vec()), &serve(SERVER).await).await.unwrap(), b"{}");
    let both = Trust::Given([OTHER_CA, CA].concat());
    assert_eq!(asked(both, &serve(SERVER).await).await.unwrap(), b"{}");
}

#[tokio::test]
async fn a_wrong_certificate_is_refused_and_the_reason_told() {
    let unknown = refused(Trust::Given(OTHER_CA.to_vec()), SERVER).await;
    assert!(unknown.contains("UnknownIssuer") || unknown.contains("certificate"), "{unknown}");
    let elsewhere = refused(Trust::Given(CA.to_vec()), ELSEWHERE).await;
    assert!(elsewhere.contains("not valid for name"), "{elsewhere}");
    let expired = refused(Trust::Given(CA.to_vec()), EXPIRED).await;
    assert!(expired.contains("expired"), "{expired}");
}

#[tokio::test]
async fn the_systems_authorities_do_not_vouch_for_ours() {
    let told = refused(Trust::System, SERVER).await;
    assert!(told.contains("certificate"), "{told}");
}

/// A captive portal, or an endpoint without the scheme it needs.
#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = asked(Trust::Given(CA.to_vec()), &url).await.unwrap_err();
    assert_eq!(broken(&error, true), CloudFailureKind::Transient);
}

#[test]
fn what_holds_no_certificate_is_refused() {
    for pem in ["", "no certificate", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        let error = client(&options(Trust::Given(pem.into()))).unwrap_err();
        assert!(matches!(error, ClientError::NoCertificate), "{pem:?}: {error:?}");
    }
    let spoilt = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(client(&options(Trust::Given(spoilt.into()))).is_err());
}
