//! From the socket to the router: how many connections there are, how long their headers may take, and how the server ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::answer;
use crate::engine::{self, EngineThread};
use crate::error::{Error, Result};
use crate::guard::Guard;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::router::{HEAD_BYTES, router};
use crate::server::{self, ServedModel, Server};
use crate::stalled::Watched;

/// Connections at once; further ones wait until one ends.
const MOST_CONNECTIONS: usize = 1024;
/// How long a client may take to send the head of a request, and how long a connection may be idle.
const SENDING_HEAD: Duration = Duration::from_secs(15);
const MOST_HEADERS: usize = 64;
/// How often is looked whether the server is to stop.
const LOOKS_APART: Duration = Duration::from_millis(50);

/// Listens, loads, answers, and ends when it is told to.
pub(crate) async fn run(
    options: Options,
    ready: &mut dyn FnMut(SocketAddr) -> io::Result<Arc<AtomicBool>>,
) -> Result<()> {
    let refused = |reason| Error::Listen { address: options.address, reason };
    // a port that is taken is told before the model is read
    let listener = TcpListener::bind(options.address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let metrics = Arc::new(Metrics::default());
    let EngineThread { jobs, formats, context_tokens, thread } = engine::start(&options, Arc::clone(&metrics))?;
    let Options { model_name, adapters, generate, key, max_clients, .. } = options;
    let names = [model_name].into_iter().chain(adapters.into_iter().map(|(name, _)| name));
    let server = Arc::new(Server {
        models: names.zip(formats).map(|(name, format)| ServedModel { name, format }).collect(),
        jobs,
        slots: Arc::new(Semaphore::new(max_clients)),
        max_clients,
        context_tokens,
        defaults: generate,
        metrics,
        is_stopping: watch::Sender::new(false),
        renderings: Arc::new(Semaphore::new(server::RENDERINGS)),
        guard: Guard::new(key.as_deref(), address),
        created: server::now(),
        numbers: AtomicU64::new(0),
    });
    let stop = ready(address).map_err(Error::Ready)?;
    let is_broken = accept(listener, &server, &stop, || thread.is_finished()).await;
    if is_broken { Err(Error::Engine) } else { Ok(()) }
}

/// Takes connections until the server is to stop, and waits for the answers under way. Whether the engine has broken.
async fn accept(
    listener: TcpListener,
    server: &Arc<Server>,
    stop: &AtomicBool,
    is_engine_gone: impl Fn() -> bool,
) -> bool {
    let router = router(Arc::clone(server));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SENDING_HEAD).max_headers(MOST_HEADERS).max_buf_size(HEAD_BYTES);
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut looks = tokio::time::interval(LOOKS_APART);
    while !stop.load(Ordering::Relaxed) && !is_engine_gone() {
        let next = async {
            // It is never closed.
            let slot = Arc::clone(&connections).acquire_owned().await;
            (listener.accept().await, slot)
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            _ = looks.tick() => continue,
        };
        let stream = match accepted.0 {
            Ok((stream, _)) => stream,
            Err(error) => {
                // out of descriptors, as a rule: some may be free in a while
                tracing::warn!("a connection could not be taken: {error}");
                tokio::time::sleep(LOOKS_APART).await;
                continue;
            }
        };
        // Tokens are small, and each is wanted at once.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection =
            graceful.watch(http.serve_connection(TokioIo::new(Watched::new(stream, answer::READING)), service));
        let slot = accepted.1;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
            drop(slot);
        });
    }
    // what comes from here on finds nobody
    drop(listener);
    server.is_stopping.send_replace(true);
    let ending = graceful.shutdown();
    tokio::pin!(ending);
    loop {
        tokio::select! {
            () = &mut ending => return is_engine_gone(),
            _ = looks.tick() => if is_engine_gone() { return true },
        }
    }
}
