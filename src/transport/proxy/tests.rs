//! A tunnel whose server sends first.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::super::{Connector, Network};
use super::Proxy;
use crate::clock::Clock;
use crate::error::AttestationError;

const BANNER: &str = "220 ready\r\n";

/// Starts a proxy whose response and the first bytes of the server are in one packet. It then echoes.
async fn proxy() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client));
        }
    });
    url
}

async fn serve(mut client: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    client.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{BANNER}").as_bytes()).await?;
    let (mut read, mut write) = client.split();
    tokio::io::copy(&mut read, &mut write).await?;
    write.shutdown().await
}

async fn through_proxy(origin: &str) -> Connector {
    let network = Network { proxy: Proxy::new(&proxy().await), ..Network::default() };
    let tls = Arc::new(crate::tls::any_server_config(&Clock::system()).unwrap());
    Connector::new(&network, &origin.parse().unwrap(), &tls).unwrap()
}

#[tokio::test]
async fn a_server_in_cleartext_may_send_first() {
    let connector = through_proxy("http://server.example/").await;
    let (mut stream, security) = connector.open_stream(Some(25), &[]).await.unwrap();
    assert!(security.key.is_none());
    let mut banner = vec![0; BANNER.len()];
    stream.read_exact(&mut banner).await.unwrap();
    assert_eq!(banner, BANNER.as_bytes());
    stream.write_all(b"HELO").await.unwrap();
    // The end of what is sent goes through as well, and what comes back is read until its end.
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "HELO");
}

#[tokio::test]
async fn before_tls_a_server_sends_nothing() {
    let connector = through_proxy("https://server.example/").await;
    let address = connector.proxy_address();
    let reason = format!("https://server.example: the proxy {address} sent a response that cannot be read");
    for error in
        [connector.open_stream(None, &[]).await.err().unwrap(), connector.connect_to_application().await.err().unwrap()]
    {
        let AttestationError::ApplicationUnreachable { reason: found, .. } = error else { panic!("{error:?}") };
        assert_eq!(found, reason);
    }
}
