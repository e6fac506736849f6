//! A teacher for tests: a small HTTP/1.1 server on this machine that answers each request with a list of steps (bytes, pauses,
//! a reset, …), so that every misbehaviour can be written down. It counts and keeps what it was asked. Ready-made replies
//! stand in `reply`, a crowd of ordinary answers with errors and outages in `crowd`. Used by tests only.

mod crowd;
mod reply;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;

pub use crowd::Crowd;
pub use reply::{chunk, event, json, ollama_line, response, stream, stream_of};

/// One thing that the server does in its turn.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends these bytes.
    Send(Arc<[u8]>),
    /// Sends these bytes repeatedly, the given number of times.
    Repeat(Arc<[u8]>, u64),
    /// Waits.
    Wait(Duration),
    /// Says nothing more, and keeps the connection.
    Stall,
    /// Ends the connection in order. Without it the next request is awaited.
    Close,
    /// Breaks the connection off (TCP RST).
    Reset,
}

impl Step {
    /// Sends text or bytes.
    pub fn send(bytes: impl Into<Vec<u8>>) -> Step {
        Step::Send(bytes.into().into())
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its number, from 0, over all connections.
    pub number: u64,
    /// `GET`, `POST`, …
    pub method: String,
    /// The path and what follows it.
    pub path: String,
    /// Header lines, as one text.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What answers a request.
type Script = dyn Fn(&Request) -> Vec<Step> + Send + Sync;

/// The most requests that are kept; all are counted.
const KEPT: u64 = 1_000;

/// A running server. It ends when this is dropped.
pub struct ScriptedTeacher {
    address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Seen>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicU64,
    requests: AtomicU64,
    kept: Mutex<Vec<Request>>,
}

impl Seen {
    fn kept(&self) -> MutexGuard<'_, Vec<Request>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScriptedTeacher {
    /// Starts on a free port.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn start(script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> io::Result<ScriptedTeacher> {
        Self::launch(0, None, Arc::new(script))
    }

    /// Starts on this port.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn start_at(
        port: u16,
        script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> io::Result<ScriptedTeacher> {
        Self::launch(port, None, Arc::new(script))
    }

    /// Starts with TLS and a certificate for `localhost` that it signs itself.
    ///
    /// # Errors
    /// What the operating system or the TLS library says.
    pub fn start_tls(script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> io::Result<ScriptedTeacher> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
        let made = made.map_err(io::Error::other)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key))
            .map_err(io::Error::other)?;
        Self::launch(0, Some(TlsAcceptor::from(Arc::new(config))), Arc::new(script))
    }

    fn launch(port: u16, tls: Option<TlsAcceptor>, script: Arc<Script>) -> io::Result<ScriptedTeacher> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", port)))?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        runtime.spawn(accept(listener, tls, script, Arc::clone(&seen)));
        Ok(ScriptedTeacher { address, scheme, seen, runtime: Some(runtime) })
    }

    /// Where it is, as `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// How many requests have come.
    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// How many connections have come.
    pub fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The first thousand requests.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.kept().clone()
    }
}

impl Drop for ScriptedTeacher {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, script: Arc<Script>, seen: Arc<Seen>) {
    // An accept that fails (too many open files) is tried again with the next connection.
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let (tls, script, seen) = (tls.clone(), Arc::clone(&script), Arc::clone(&seen));
        tokio::spawn(async move {
            // Connections break in tests; that is the client's to notice.
            let _ = match tls {
                None => plain(stream, &script, &seen).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(mut stream) => talk(&mut stream, &script, &seen).await.map(drop),
                    Err(error) => Err(error),
                },
            };
        });
    }
}

async fn plain(mut stream: TcpStream, script: &Arc<Script>, seen: &Seen) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if talk(&mut stream, script, seen).await? == End::Reset {
        stream.set_zero_linger()?;
    }
    Ok(())
}

#[derive(PartialEq)]
enum End {
    Closed,
    Reset,
}

/// Answers the requests of one connection, one after the other.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, script: &Arc<Script>, seen: &Seen) -> io::Result<End> {
    let mut held = Vec::with_capacity(4096);
    loop {
        let Some(mut request) = next_request(stream, &mut held).await? else { return Ok(End::Closed) };
        request.number = seen.requests.fetch_add(1, Ordering::SeqCst);
        let steps = script(&request);
        if request.number < KEPT {
            seen.kept().push(request);
        }
        for step in steps {
            match step {
                Step::Send(bytes) => stream.write_all(&bytes).await?,
                Step::Repeat(bytes, times) => {
                    for _ in 0..times {
                        stream.write_all(&bytes).await?;
                    }
                }
                Step::Wait(wait) => tokio::time::sleep(wait).await,
                Step::Stall => std::future::pending().await,
                Step::Close => {
                    stream.shutdown().await?;
                    return Ok(End::Closed);
                }
                Step::Reset => return Ok(End::Reset),
            }
        }
    }
}

/// The next request of a connection; what comes after it stays in `held`.
async fn next_request<S: AsyncRead + Unpin>(stream: &mut S, held: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let end = loop {
        if let Some(end) = held.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(held).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&held[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = end + length.unwrap_or(0);
    while held.len() < whole {
        if stream.read_buf(held).await? == 0 {
            return Ok(None);
        }
    }
    let body = held[end..whole].to_vec();
    held.drain(..whole);
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    Ok(Some(Request { number: 0, method, path, head, body }))
}
