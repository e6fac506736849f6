//! Safetensors files and folders: written by transformers and read here, written and read here, and hostile ones.
#![allow(clippy::unwrap_used)] // A test's helpers fail by panicking too.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aludel_formats::safetensors::{Weights, hf_metadata, save_file, save_sharded};
use aludel_formats::{Dtype, Error, TensorSpec, hf};
use proptest::prelude::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Bytes that differ from tensor to tensor.
fn content(tensor: &TensorSpec) -> Result<Cow<'static, [u8]>, Error> {
    let seed = tensor.name.bytes().fold(0u8, u8::wrapping_add);
    Ok((0..tensor.byte_count().unwrap()).map(|index| seed.wrapping_add(index as u8)).collect::<Vec<u8>>().into())
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_sharded_model_of_transformers_is_read() {
    let folder = hf::Folder::open(fixture("sharded")).unwrap();
    assert_eq!(folder.config()["model_type"], "llama");
    assert!(folder.generation_config().is_some() && folder.chat_template().is_none());
    let weights = folder.weights().unwrap();
    assert_eq!(weights.names().len(), 11);
    let tensor = weights.get("model.layers.0.mlp.down_proj.weight").unwrap();
    assert_eq!((tensor.dtype, tensor.shape.as_slice()), (Dtype::BF16, [8, 16].as_slice()));
    assert_eq!(tensor.bytes.len(), 256);
    // A norm starts as ones: 0x3f80 in bf16.
    assert_eq!(weights.get("model.norm.weight").unwrap().bytes, [0x80, 0x3f].repeat(8));
    let message = weights.get("model.layers.0.mlp.down_proj").unwrap_err().to_string();
    assert!(message.contains("nearest there: model.layers.0.mlp.down_proj.weight"), "{message}");
}

#[test]
fn every_type_comes_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.safetensors");
    let dtypes = Dtype::all().filter(|dtype| !dtype.is_quantised());
    let mut tensors: Vec<TensorSpec> = dtypes.map(|dtype| TensorSpec::new(dtype.name(), dtype, [3, 5])).collect();
    tensors.push(TensorSpec::new("scalar", Dtype::F32, []));
    tensors.push(TensorSpec::new("empty", Dtype::F32, [0, 4]));
    save_file(&path, &tensors, &hf_metadata(), content).unwrap();

    let weights = Weights::open_file(&path).unwrap();
    assert_eq!(weights.names().len(), tensors.len());
    assert_eq!(weights.metadata()["format"], "pt");
    for spec in &tensors {
        let tensor = weights.get(&spec.name).unwrap();
        assert_eq!(tensor.spec(), *spec);
        assert_eq!(tensor.bytes, &*content(spec).unwrap());
    }
    // Aligned in the file, hence in a map of it.
    assert!(weights.get("F64").unwrap().bytes.as_ptr().addr().is_multiple_of(8));
}

#[test]
fn shards_are_named_and_filled_as_hugging_face_does() {
    fn check(max_shard_bytes: u64, wanted_files: &[&str], wanted_shard_of_c: &str) {
        let folder = tempfile::tempdir().unwrap();
        // Weights of an earlier save, which readers would take for the new ones.
        for name in ["model.safetensors", "model-00001-of-00009.safetensors", "model.safetensors.index.json"] {
            fs::write(folder.path().join(name), "older").unwrap();
        }
        fs::write(folder.path().join("tokenizer.json"), "stays").unwrap();
        let tensors: Vec<TensorSpec> = ["a", "b", "big", "c", "d"]
            .map(|name| TensorSpec::new(name, Dtype::F32, [if name == "big" { 40 } else { 10 }]))
            .into();
        save_sharded(folder.path(), &tensors, max_shard_bytes, &hf_metadata(), content).unwrap();
        assert_eq!(names_in(folder.path()), [wanted_files, &["tokenizer.json"]].concat());

        let weights = Weights::open_folder(folder.path()).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b", "big", "c", "d"]);
        for spec in &tensors {
            assert_eq!(weights.get(&spec.name).unwrap().bytes, &*content(spec).unwrap());
        }
        if let Ok(index) = fs::read_to_string(folder.path().join("model.safetensors.index.json")) {
            let index: serde_json::Value = serde_json::from_str(&index).unwrap();
            assert_eq!(index["metadata"]["total_size"], 320);
            assert_eq!(index["metadata"]["total_parameters"], 80);
            assert_eq!(index["weight_map"]["c"], wanted_shard_of_c);
        }
    }
    check(1000, &["model.safetensors"], "");
    check(
        80,
        &[
            "model-00001-of-00003.safetensors",
            "model-00002-of-00003.safetensors",
            "model-00003-of-00003.safetensors",
            "model.safetensors.index.json",
        ],
        "model-00003-of-00003.safetensors",
    );
}

#[test]
fn the_writer_refuses_what_the_format_cannot_hold() {
    fn check(tensors: &[TensorSpec], wanted: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.safetensors");
        let bytes_of = |_: &TensorSpec| Ok::<_, Error>(Cow::Borrowed([0u8; 4].as_slice()));
        let message = save_file(&path, tensors, &BTreeMap::new(), bytes_of).unwrap_err().to_string();
        assert!(message.contains("out.safetensors") && message.contains(wanted), "{message}");
        assert_eq!(names_in(folder.path()), [""; 0], "nothing may stay behind");
    }
    let spec = |name: &str, dtype, shape: &[usize]| TensorSpec::new(name, dtype, shape);
    check(&[spec("t", Dtype::Q4_0, &[32])], "type Q4_0");
    check(&[spec("t", Dtype::F32, &[usize::MAX, 2])], "overflows");
    check(&[spec("t", Dtype::F32, &[1]), spec("t", Dtype::F32, &[1])], "occurs twice");
    check(&[spec("__metadata__", Dtype::F32, &[1])], "__metadata__");
    check(&[spec("t", Dtype::F32, &[2])], "announced with 8 bytes, but 4 were given");
}

#[test]
fn an_error_of_the_caller_passes_through_and_keeps_the_older_file() {
    #[derive(Debug)]
    enum Mine {
        Stopped,
        Formats(Error),
    }
    impl From<Error> for Mine {
        fn from(error: Error) -> Self {
            Mine::Formats(error)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let tensors = [TensorSpec::new("a", Dtype::F32, [1]), TensorSpec::new("b", Dtype::F32, [1])];
    save_file(&path, &tensors, &hf_metadata(), content).unwrap();
    let before = fs::read(&path).unwrap();
    let result = save_file(&path, &tensors, &hf_metadata(), |tensor: &TensorSpec| match tensor.name.as_str() {
        "a" => Ok(Cow::Borrowed([9u8; 4].as_slice())),
        _ => Err(Mine::Stopped),
    });
    assert!(matches!(result, Err(Mine::Stopped)));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names_in(folder.path()), ["out.safetensors"]);

    let result = save_file(&folder.path().join("no/out"), &tensors, &hf_metadata(), |_| Err(Mine::Stopped));
    assert!(matches!(result, Err(Mine::Formats(Error::Io { .. }))));
}

/// A file of this header and the given number of bytes of data.
fn raw(header: &str, data_bytes: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![1; data_bytes]].concat()
}

const VALID: &str =
    r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"I64","shape":[1,1],"data_offsets":[8,16]}}"#;

fn open_bytes(bytes: &[u8]) -> Result<(), Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    fs::write(&path, bytes).unwrap();
    let weights = Weights::open_file(&path)?;
    // What is accepted must be safe to read up to its last byte.
    for tensor in weights.tensors() {
        let tensor = tensor?;
        assert_eq!(tensor.dtype.bytes_for(tensor.elements()), Some(tensor.bytes.len()));
        std::hint::black_box(tensor.bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
    }
    Ok(())
}

#[test]
fn hostile_files_are_refused_with_their_reason() {
    fn check(bytes: &[u8], is_wanted: impl Fn(&Error) -> bool, part: &str) {
        let error = open_bytes(bytes).unwrap_err();
        let message = error.to_string();
        assert!(
            is_wanted(&error) && message.contains(part) && message.contains("x.safetensors"),
            "{error:?}\n{message}"
        );
    }
    open_bytes(&raw(VALID, 16)).unwrap();
    open_bytes(&raw("{}", 0)).unwrap();
    open_bytes(&raw(r#"{"__metadata__":{"format":"pt"}}"#, 0)).unwrap();

    // The header's length.
    check(b"", |error| matches!(error, Error::WrongKind { .. }), "empty");
    check(b"1234567", |error| matches!(error, Error::Truncated { .. }), "the header's length");
    let header_size = |error: &Error| matches!(error, Error::HeaderSize { .. });
    check(&u64::MAX.to_le_bytes(), header_size, "header claims");
    check(&[&99u64.to_le_bytes(), b"{}".as_slice()].concat(), header_size, "99 bytes");
    let bomb = format!("{{{}}}", " ".repeat(11_000_000));
    check(&raw(&bomb, 0), header_size, "at most 10000000");

    // The header's text.
    let json = |error: &Error| matches!(error, Error::Json { .. });
    check(&raw("", 0), json, "in the header");
    check(&raw("[]", 0), json, "an object of tensors");
    check(&raw("{\"a\":{}}", 0), json, "dtype");
    check(&raw("\u{1}", 0), json, "in the header");
    check(&raw(&"[".repeat(100_000), 0), json, "in the header");
    check(&raw(&r#"{"a":"#.repeat(100_000), 0), json, "in the header");
    check(&raw(r#"{"a":{"dtype":"F99","shape":[],"data_offsets":[0,4]}}"#, 4), json, "F99");
    check(&raw(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4), json, "-1");

    // The tensors.
    let tensors = |entries: &[(&str, &str, &str, u64, u64)], data_bytes| {
        let entry = |(name, dtype, shape, start, end): &(&str, &str, &str, u64, u64)| {
            format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
        };
        raw(&format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(",")), data_bytes)
    };
    let outside = |error: &Error| matches!(error, Error::OffsetOutside { .. });
    check(&tensors(&[("a", "F32", "[2]", 0, 8)], 4), outside, "past the end");
    check(&tensors(&[("a", "F32", "[2]", u64::MAX - 8, u64::MAX)], 8), outside, "past the end");
    check(&tensors(&[("a", "F32", "[2]", 8, 0)], 8), outside, "\"a\"");
    let shape = |error: &Error| matches!(error, Error::Shape { .. });
    check(&tensors(&[("a", "F32", "[3]", 0, 8)], 8), shape, "needs 12 bytes but is given 8");
    check(&tensors(&[("a", "BF16", "[2]", 0, 8)], 8), shape, "needs 4 bytes but is given 8");
    check(&tensors(&[("a", "F32", "[4294967296,4294967296]", 0, 8)], 8), shape, "overflows");
    check(&tensors(&[("a", "F4", "[3]", 0, 1)], 1), shape, "needs 2 bytes but is given 1");
    let overlap = [("a", "F32", "[2]", 0, 8), ("b", "F32", "[2]", 4, 12)];
    check(&tensors(&overlap, 12), |error| matches!(error, Error::Overlap { .. }), "\"a\" and \"b\"");
    let twice = [("a", "F32", "[2]", 0, 8), ("a", "F32", "[2]", 0, 8)];
    check(&tensors(&twice, 8), |error| matches!(error, Error::Duplicate { .. }), "\"a\" occurs twice");
    let malformed = |error: &Error| matches!(error, Error::Malformed { .. });
    check(&tensors(&[("a", "F32", "[2]", 0, 8)], 9), malformed, "do not end where the file ends");
    check(&tensors(&[("a", "F32", "[2]", 4, 12)], 12), malformed, "offset for tensor `a`");
    let unsupported = |error: &Error| matches!(error, Error::UnsupportedDtype { .. });
    check(&tensors(&[("a", "F8_E4M3", "[2]", 0, 2)], 2), unsupported, "F8_E4M3");
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let bytes = raw(VALID, 16);
    for length in 0..bytes.len() {
        let error = open_bytes(&bytes[..length]).expect_err("a cut file was let in");
        assert!(error.to_string().contains("x.safetensors"), "cut at {length}: {error}");
    }
}

#[test]
fn an_index_must_agree_with_its_shards() {
    fn check(index: &str, is_wanted: impl Fn(&Error) -> bool, part: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let save = |name: &str, tensors: &[&str]| {
            let tensors: Vec<TensorSpec> =
                tensors.iter().map(|tensor| TensorSpec::new(*tensor, Dtype::F32, [1])).collect();
            save_file(&path(name), &tensors, &hf_metadata(), content).unwrap();
        };
        save("one.safetensors", &["a.weight", "b.weight"]);
        save("two.safetensors", &["b.weight", "c.weight"]);
        fs::write(path("model.safetensors.index.json"), index).unwrap();
        let error = Weights::open_folder(folder.path()).unwrap_err();
        let message = error.to_string();
        assert!(is_wanted(&error) && message.contains(part), "{error:?}\n{message}");
    }
    let shard_name = |error: &Error| matches!(error, Error::ShardName { .. });
    for hostile in ["../one.safetensors", "/etc/passwd", "..", "", "a/b", r"..\\one", "C:one"] {
        let index = format!(r#"{{"weight_map":{{"a.weight":"{hostile}"}}}}"#);
        check(&index, shard_name, "no plain file name");
    }
    let missing = |error: &Error| matches!(error, Error::MissingTensor { .. });
    check(r#"{"weight_map":{"a.weigh":"one.safetensors"}}"#, missing, "nearest there: a.weight");
    check(
        r#"{"weight_map":{"a.weight":"no.safetensors"}}"#,
        |error| matches!(error, Error::Io { .. }),
        "no.safetensors",
    );
    let both = r#"{"weight_map":{"a.weight":"one.safetensors","c.weight":"two.safetensors"}}"#;
    check(both, |error| matches!(error, Error::Duplicate { .. }), "\"b.weight\" occurs twice");
    let json = |error: &Error| matches!(error, Error::Json { .. });
    check("{}", json, "weight_map");
    check("{", json, "line 1");
    check(r#"{"weight_map":{}}"#, |error| matches!(error, Error::Malformed { .. }), "no tensor");
}

#[test]
fn a_tensor_in_another_shard_than_the_index_says_is_missing_there() {
    let folder = tempfile::tempdir().unwrap();
    for (shard, tensor) in [("one", "a"), ("two", "c")] {
        let path = folder.path().join(format!("{shard}.safetensors"));
        save_file(&path, &[TensorSpec::new(tensor, Dtype::F32, [1])], &hf_metadata(), content).unwrap();
    }
    let index = r#"{"weight_map":{"a":"two.safetensors","c":"two.safetensors"}}"#;
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    let error = Weights::open_folder(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::MissingTensor { path, .. } if path.ends_with("two.safetensors")), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = raw(VALID, 16);
        for (index, mask) in &flips {
            let length = bytes.len();
            bytes[index.index(length)] ^= mask;
        }
        let _ = open_bytes(&bytes);
    }

    /// A changed digit keeps the header's syntax, so that it gets further than most flips do.
    #[test]
    fn changed_digits_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), b'0'..=b'9'), 1..5)) {
        let mut bytes = raw(VALID, 16);
        let digits: Vec<usize> = (8..bytes.len()).filter(|index| bytes[*index].is_ascii_digit()).collect();
        for (index, digit) in &changes {
            bytes[digits[index.index(digits.len())]] = *digit;
        }
        let _ = open_bytes(&bytes);
    }
}
