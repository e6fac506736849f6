//! A Hub inside the test: repositories, redirects, refusals, interruptions; and a cache that other tools filled.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const ROW: &[u8] = b"{\"text\": \"a row\"}\n";

/// What the server does with a file.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Plain,
    /// It lies on another server.
    Elsewhere,
    /// The first answer ends in the middle.
    CutOnce,
    /// It is for members.
    Gated,
    /// Of a part, other bytes come than those that were asked for.
    OtherPart,
    /// Of a part, it is not said which it is.
    UnnamedPart,
}

struct File {
    name: &'static str,
    content: Vec<u8>,
    manner: Manner,
}

fn file(name: &'static str) -> File {
    File { name, content: ROW.to_vec(), manner: Manner::Plain }
}

#[derive(Clone, Debug)]
struct Request {
    host: String,
    path: String,
    range: String,
    authorization: String,
}

/// The Hub, another server that it redirects to, and what they were asked.
struct World {
    hub: Hub,
    requests: Arc<Mutex<Vec<Request>>>,
    folder: tempfile::TempDir,
}

impl World {
    /// A Hub with one data set, `owner/name`; a model of the same name holds the same files.
    fn new(files: Vec<File>) -> World {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let contents: Vec<Vec<u8>> = files.iter().map(|file| file.content.clone()).collect();
        let elsewhere = listen(Arc::clone(&requests), move |request| {
            let number: usize = request.path.strip_prefix("/blob/")?.parse().ok()?;
            Some(answer("200 OK", "", &contents[number]))
        });
        let cut = Mutex::new(HashSet::new());
        let endpoint = listen(Arc::clone(&requests), move |request| {
            if ["/api/datasets/owner/name/revision/main", "/api/models/owner/name/revision/main"]
                .contains(&request.path.as_str())
            {
                let siblings: Vec<_> = files.iter().map(|file| json!({"rfilename": file.name})).collect();
                return Some(answer("200 OK", "", json!({"sha": COMMIT, "siblings": siblings}).to_string().as_bytes()));
            }
            let path = request.path.strip_prefix("/datasets").unwrap_or(&request.path);
            let name = path.strip_prefix(&format!("/owner/name/resolve/{COMMIT}/"))?.replace("%20", " ");
            let number = files.iter().position(|file| file.name == name)?;
            let File { content, manner, .. } = &files[number];
            let etag = format!("etag: \"{}\"\r\n", hash_of(content));
            match manner {
                Manner::Gated => return Some(answer("403 Forbidden", "", b"ask the owner")),
                Manner::Elsewhere => {
                    let headers = format!("x-linked-{etag}location: {elsewhere}/blob/{number}\r\n");
                    return Some(answer("302 Found", &headers, b""));
                }
                Manner::Plain | Manner::CutOnce | Manner::OtherPart | Manner::UnnamedPart => {}
            }
            let from: Option<usize> =
                request.range.strip_prefix("bytes=").and_then(|range| range.split('-').next()?.parse().ok());
            let size = content.len();
            let mut bytes = match from {
                None => answer("200 OK", &etag, content),
                Some(from) if from >= size => {
                    answer("416 Range Not Satisfiable", &format!("content-range: bytes */{size}\r\n"), b"")
                }
                Some(from) => {
                    let from = if *manner == Manner::OtherPart && from > 0 { from - 1 } else { from };
                    let range = match manner {
                        Manner::UnnamedPart => String::new(),
                        _ => format!("content-range: bytes {from}-{}/{size}\r\n", size - 1),
                    };
                    answer("206 Partial Content", &format!("{etag}{range}"), &content[from..])
                }
            };
            if *manner == Manner::CutOnce && request.range.is_empty() && cut.lock().unwrap().insert(number) {
                bytes.truncate(bytes.len() - content.len() / 2);
            }
            Some(bytes)
        });
        let folder = tempfile::tempdir().unwrap();
        let token = Token::new(" hf_secret\n");
        let hub = Hub { endpoint, cache: folder.path().join("hub"), token, offline: false };
        World { hub, requests, folder }
    }

    fn data(&self, name: &str) -> Result<Vec<String>, String> {
        let paths = fetch_data(Path::new(name), &self.hub, &mut |_| {}).map_err(|error| error.to_string())?;
        let snapshot = self.hub.cache.join(format!("datasets--owner--name/snapshots/{COMMIT}"));
        Ok(paths
            .iter()
            .map(|path| {
                assert!(fs::read(path).unwrap().starts_with(b"{\"text\": "), "{path:?}");
                path.strip_prefix(&snapshot).unwrap().to_str().unwrap().to_string()
            })
            .collect())
    }
}

/// As git names a file's content, and the Hub a file's.
fn hash_of(content: &[u8]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(format!("blob {}\0", content.len()).as_bytes());
    context.update(content);
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A server on this machine; gives its address.
fn listen(
    requests: Arc<Mutex<Vec<Request>>>,
    respond: impl Fn(&Request) -> Option<Vec<u8>> + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Some(request) = read_request(&stream) else { continue };
            let bytes = respond(&request).unwrap_or_else(|| answer("404 Not Found", "", b"no such thing"));
            requests.lock().unwrap().push(request);
            // Whoever asked may have heard enough.
            let _ = (&stream).write_all(&bytes);
        }
    });
    endpoint
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_string();
    let mut request = Request { host: String::new(), path, range: String::new(), authorization: String::new() };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "host" => request.host = value.to_string(),
            "range" => request.range = value.to_string(),
            "authorization" => request.authorization = value.to_string(),
            _ => {}
        }
    }
    Some(request)
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn check(files: &[&'static str], name: &str, wanted: Result<&[&str], &str>) {
    let found = World::new(files.iter().map(|name| file(name)).collect()).data(name);
    match wanted {
        Ok(wanted) => assert_eq!(found.unwrap(), wanted, "{name}"),
        Err(mention) => {
            let message = found.unwrap_err();
            assert!(message.starts_with(name) && message.contains(mention), "{message}");
        }
    }
}

#[test]
fn splits_are_told_by_names() {
    let sharded = [
        "README.md",
        ".gitattributes",
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/test-00000-of-00001.parquet",
    ];
    check(&sharded, "hf:owner/name", Ok(&["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]));
    check(&sharded, "hf:owner/name:test", Ok(&["data/test-00000-of-00001.parquet"]));
    check(
        &sharded,
        "hf:owner/name:validation",
        Err("it has no split \"validation\"; its data files are data/train-00000"),
    );
    check(
        &["train/0.jsonl.gz", "train/1.jsonl.gz", "dev/0.jsonl.gz"],
        "hf:owner/name:validation",
        Ok(&["dev/0.jsonl.gz"]),
    );
    check(&["traces.jsonl", "dataset_infos.json"], "hf:owner/name", Ok(&["traces.jsonl"]));
    check(&["train.jsonl", "train.parquet"], "hf:owner/name", Ok(&["train.parquet"]));
    check(&["gsm8k_train.jsonl", "gsm8k_test.jsonl"], "hf:owner/name", Ok(&["gsm8k_train.jsonl"]));
    check(
        &["data/train_sft-0.parquet", "data/test_sft-0.parquet"],
        "hf:owner/name:train_sft",
        Ok(&["data/train_sft-0.parquet"]),
    );
    check(&["test.jsonl"], "hf:owner/name", Err("it has no split \"train\"; its data files are test.jsonl"));
    check(&["README.md"], "hf:owner/name", Err("it holds no JSONL, JSON or Parquet file (it holds README.md)"));
    let subsets = ["main/train-0.parquet", "socratic/train-0.parquet"];
    check(&subsets, "hf:owner/name", Err("several subsets (main, socratic)"));
    check(&subsets, "hf:owner/name:socratic/train", Ok(&["socratic/train-0.parquet"]));
    check(&["a file.jsonl"], "hf:owner/name", Ok(&["a file.jsonl"]));
}

#[test]
fn names_that_are_none_are_refused() {
    for name in ["hf:", "hf:a/b/c", "hf:../x", "hf:owner/..", "hf:owner/name:", "hf:owner/na me"] {
        check(&["train.jsonl"], name, Err("a name on the Hub reads hf:owner/name"));
    }
    check(&["train.jsonl"], "hf:owner/other", Err("there is no such repository"));
    check(&["../../../evil.jsonl"], "hf:owner/name", Err("it holds no JSONL"));
}

#[test]
fn what_was_fetched_is_not_fetched_again() {
    let world = World::new(vec![file("train.jsonl")]);
    world.data("hf:owner/name").unwrap();
    world.requests.lock().unwrap().clear();
    world.data("hf:owner/name").unwrap();
    let asked: Vec<String> = world.requests.lock().unwrap().iter().map(|request| request.path.clone()).collect();
    assert_eq!(asked, ["/api/datasets/owner/name/revision/main"]);
    let offline = World {
        hub: Hub { offline: true, ..world.hub.clone() },
        requests: Arc::clone(&world.requests),
        folder: world.folder,
    };
    assert_eq!(offline.data("hf:owner/name").unwrap(), ["train.jsonl"]);
    assert_eq!(offline.requests.lock().unwrap().len(), 1, "nothing is asked offline");
}

#[test]
fn without_a_network_the_cache_does() {
    let world = World::new(vec![file("train.jsonl")]);
    world.data("hf:owner/name").unwrap();
    let nowhere = Hub { endpoint: "http://127.0.0.1:1".to_string(), ..world.hub.clone() };
    assert_eq!(fetch_data(Path::new("hf:owner/name"), &nowhere, &mut |_| {}).unwrap().len(), 1);
    let message = fetch_data(Path::new("hf:owner/other"), &nowhere, &mut |_| {}).unwrap_err().to_string();
    assert!(
        message.starts_with("hf:owner/other: 127.0.0.1 cannot be reached (") && message.contains("HF_ENDPOINT"),
        "{message}"
    );
    let offline = Hub { offline: true, ..nowhere };
    let message = fetch_data(Path::new("hf:owner/other"), &offline, &mut |_| {}).unwrap_err().to_string();
    assert!(message.contains("HF_HUB_OFFLINE"), "{message}");
}

#[test]
fn a_cache_that_other_tools_filled_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("datasets--owner--name");
    fs::create_dir_all(repository.join("snapshots/abc/data")).unwrap();
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), "abc").unwrap();
    fs::write(repository.join("snapshots/abc/data/train-00000-of-00002.parquet"), ROW).unwrap();
    let hub = Hub { endpoint: String::new(), cache: folder.path().to_path_buf(), token: None, offline: true };
    let fetch = || fetch_data(Path::new("hf:owner/name"), &hub, &mut |_| {});
    let message = fetch().unwrap_err().to_string();
    assert!(message.contains("of the 2 files data/train-…-of-00002.parquet only 1 are there"), "{message}");
    fs::write(repository.join("snapshots/abc/data/train-00001-of-00002.parquet"), ROW).unwrap();
    assert_eq!(fetch().unwrap().len(), 2);
}

#[test]
fn the_token_goes_to_the_hub_and_to_no_other_host() {
    let world = World::new(vec![File { manner: Manner::Elsewhere, ..file("train.jsonl") }]);
    world.data("hf:owner/name").unwrap();
    let requests = world.requests.lock().unwrap().clone();
    let host = world.hub.endpoint.trim_start_matches("http://");
    assert!(requests.iter().any(|request| request.path == "/blob/0"), "{requests:?}");
    for request in requests {
        let wanted = if request.host == host { "Bearer hf_secret" } else { "" };
        assert_eq!(request.authorization, wanted, "{request:?}");
    }
    assert!(!format!("{:?}", world.hub).contains("hf_secret"));
}

#[test]
fn an_interrupted_file_is_gone_on_with() {
    let content = ROW.repeat(1_000);
    let world = World::new(vec![File { manner: Manner::CutOnce, content: content.clone(), ..file("train.jsonl") }]);
    let mut told = Vec::new();
    let paths = fetch_data(Path::new("hf:owner/name"), &world.hub, &mut |progress| told.push(progress)).unwrap();
    assert_eq!(fs::read(&paths[0]).unwrap(), content);
    let ranges: Vec<String> = world.requests.lock().unwrap().iter().map(|request| request.range.clone()).collect();
    assert_eq!(ranges, ["", "bytes=0-0", "", &format!("bytes={}-", content.len() / 2)]);
    let last = HubProgress {
        file: "train.jsonl".to_string(),
        bytes: content.len() as u64,
        bytes_total: Some(content.len() as u64),
    };
    assert_eq!(told.last(), Some(&last));
}

/// What an earlier attempt left is taken for what it is: all of the file, a part of it, or something else.
#[test]
fn a_file_that_was_fetched_in_part_or_in_whole_is_finished() {
    let content = ROW.repeat(1_000);
    let half = content.len() / 2;
    let part = format!("bytes={half}-");
    let whole = format!("bytes={}-", content.len());
    let longer = format!("bytes={}-", content.len() + 1);
    let damaged = [b"x".as_slice(), &content[1..half]].concat();
    let too_long = [content.as_slice(), b"x"].concat();
    let cases: [(Manner, &[u8], &[&str]); 6] = [
        (Manner::Plain, &content[..half], &[&part]),
        (Manner::Plain, &content, &[&whole]),
        (Manner::Plain, &too_long, &[&longer, ""]),
        (Manner::Plain, &damaged, &[&part, ""]),
        (Manner::OtherPart, &content[..half], &[&part, ""]),
        (Manner::UnnamedPart, &content[..half], &[&part, ""]),
    ];
    for (manner, left, asked) in cases {
        let world = World::new(vec![File { manner, content: content.clone(), ..file("train.jsonl") }]);
        let blobs = world.hub.cache.join("datasets--owner--name/blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.incomplete", hash_of(&content))), left).unwrap();
        let paths = fetch_data(Path::new("hf:owner/name"), &world.hub, &mut |_| {}).unwrap();
        assert_eq!(fs::read(&paths[0]).unwrap(), content);
        let requests = world.requests.lock().unwrap();
        let ranges: Vec<&str> = requests.iter().skip(2).map(|request| request.range.as_str()).collect();
        assert_eq!(ranges, asked, "{} bytes were there", left.len());
        assert_eq!(
            fs::read_dir(&blobs).unwrap().filter(|entry| entry.as_ref().unwrap().path().extension().is_some()).count(),
            0
        );
    }
}

#[test]
fn a_gated_file_says_what_helps() {
    let world = World::new(vec![File { manner: Manner::Gated, ..file("train.jsonl") }]);
    let message = world.data("hf:owner/name").unwrap_err();
    assert!(
        message.starts_with("hf:owner/name: train.jsonl cannot be fetched: ") && message.contains("HF_TOKEN"),
        "{message}"
    );
    assert!(!message.contains("hf_secret"), "{message}");
}

#[test]
fn models_are_folders_or_gguf_files() {
    let fetch = |files: &[&'static str], name: &str| {
        let world = World::new(files.iter().map(|name| file(name)).collect());
        let path =
            fetch_model(Path::new(name), &world.hub, &|_| Ok(()), &mut |_| {}).map_err(|error| error.to_string())?;
        let names = |folder: &Path| {
            let mut names: Vec<String> =
                fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names.join(" ")
        };
        Ok::<String, String>(if path.is_dir() {
            names(&path)
        } else {
            path.file_name().unwrap().to_str().unwrap().to_string()
        })
    };
    let folder = [
        "README.md",
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "pytorch_model.bin",
        "onnx/model.safetensors",
    ];
    assert_eq!(fetch(&folder, "hf:owner/name").unwrap(), "config.json model.safetensors tokenizer.json");
    let ggufs = ["README.md", "x.Q4_K_M.gguf", "x.Q8_0.gguf"];
    assert_eq!(fetch(&ggufs, "hf:owner/name:q8_0").unwrap(), "x.Q8_0.gguf");
    assert!(fetch(&ggufs, "hf:owner/name").unwrap_err().contains("they are x.Q4_K_M.gguf, x.Q8_0.gguf"));
    assert_eq!(fetch(&["x.gguf"], "hf:owner/name").unwrap(), "x.gguf");
    assert!(fetch(&["README.md"], "hf:owner/name").unwrap_err().contains("neither safetensors nor a GGUF file"));
    assert!(fetch(&["model.safetensors"], "hf:owner/name").unwrap_err().contains("weights without config.json"));
}

#[test]
fn what_a_model_is_is_asked_before_its_weights_are_fetched() {
    let refused = |files: &[&'static str], name: &str| {
        let world = World::new(files.iter().map(|name| file(name)).collect());
        let judge = |about: ModelFile<'_>| match about {
            ModelFile::Config(path) if fs::read(path).unwrap() == ROW => Err("not this family".to_string()),
            ModelFile::GgufHead(head) if head == ROW => Err("not this family".to_string()),
            about => panic!("{about:?}"),
        };
        let error = fetch_model(Path::new(name), &world.hub, &judge, &mut |_| {}).unwrap_err().to_string();
        let asked: HashSet<String> =
            world.requests.lock().unwrap().iter().map(|request| request.path.clone()).collect();
        (error, asked.iter().any(|path| path.ends_with(".safetensors")), fs::read_dir(&world.hub.cache).is_ok())
    };
    let folder = ["model.safetensors", "tokenizer.json", "config.json"];
    assert_eq!(refused(&folder, "hf:owner/name"), ("hf:owner/name: not this family".to_string(), false, true));
    let (error, _, has_cache) = refused(&["x.gguf"], "hf:owner/name");
    assert_eq!((error.as_str(), has_cache), ("hf:owner/name: x.gguf: not this family", false));
}
