//! GGUF files: written by others and read here, written and read here, and hostile ones built byte by byte.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // A test's helpers fail by panicking and say what they skip.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use aludel_formats::gguf::{Array, File, Value, Writer};
use aludel_formats::{Dtype, Error, TensorSpec};
use proptest::prelude::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn a_file_of_gguf_py_is_read() {
    let file = File::open(fixture("tiny.gguf")).unwrap();
    let metadata = file.metadata();
    assert_eq!(file.version(), 3);
    assert_eq!(metadata.string("general.architecture").unwrap(), "llama");
    assert_eq!(metadata.u32("llama.block_count").unwrap(), 2);
    assert_eq!(metadata.f32("llama.rope.freq_base").unwrap(), 10000.0);
    assert!(!metadata.bool("tokenizer.ggml.add_bos_token").unwrap());
    assert_eq!(metadata.strings("tokenizer.ggml.tokens").unwrap(), ["<s>", "Ġhello", "é", ""]);
    assert_eq!(metadata.i32s("tokenizer.ggml.token_type").unwrap(), [3, 1, 1, 1]);
    assert_eq!(metadata.f32s("tokenizer.ggml.scores").unwrap(), [0.0, -1.5]);

    let names: Vec<&str> = file.tensors().map(|tensor| tensor.name).collect();
    assert_eq!(names, ["blk.0.attn_q.weight", "output_norm.weight", "token_embd.weight"]);
    let tensor = file.tensor("blk.0.attn_q.weight").unwrap();
    assert_eq!((tensor.dtype, tensor.shape.as_slice()), (Dtype::F32, [2, 64].as_slice()));
    let last = tensor.bytes.last_chunk().map(|bytes| f32::from_le_bytes(*bytes));
    assert_eq!(last, Some(127.0));
    let tensor = file.tensor("token_embd.weight").unwrap();
    assert_eq!((tensor.dtype, tensor.shape.as_slice(), tensor.bytes.len()), (Dtype::Q8_0, [2, 64].as_slice(), 136));
    assert!(file.find_tensor("output.weight").is_none());
}

#[test]
fn asking_for_what_is_not_there_names_what_is() {
    let file = File::open(fixture("tiny.gguf")).unwrap();
    let message = file.tensor("blk.0.attn_k.weight").unwrap_err().to_string();
    assert!(message.contains("tiny.gguf") && message.contains("nearest there: blk.0.attn_q.weight"), "{message}");
    let message = file.metadata().u32("llama.block_counts").unwrap_err().to_string();
    assert!(message.contains("nearest there: llama.block_count"), "{message}");

    fn check(error: Error, wanted: &str, found: &str) {
        let message = error.to_string();
        assert!(message.contains(wanted) && message.contains(found), "{message}");
    }
    let metadata = file.metadata();
    check(metadata.u32("general.architecture").unwrap_err(), "should be a u32", "a string of 5 bytes");
    check(metadata.u32("test.negative").unwrap_err(), "should be a u32", "the i64 -5");
    check(metadata.f32("llama.block_count").unwrap_err(), "should be an f32", "the u32 2");
    check(metadata.strings("tokenizer.ggml.scores").unwrap_err(), "array of strings", "an array of 2 f32");
    check(metadata.find::<bool>("llama.block_count").unwrap_err(), "should be a bool", "the u32 2");
    assert_eq!(metadata.find::<u32>("no.such.key").unwrap(), None);
    assert_eq!(metadata.get::<usize>("llama.block_count").unwrap(), 2);
}

#[test]
fn every_type_comes_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.gguf");
    let values: Vec<(&str, Value)> = vec![
        ("a.u8", Value::U8(7)),
        ("a.i8", Value::I8(-7)),
        ("a.u16", Value::U16(700)),
        ("a.i16", Value::I16(-700)),
        ("a.u32", Value::U32(70_000)),
        ("a.i32", Value::I32(-70_000)),
        ("a.u64", Value::U64(u64::MAX)),
        ("a.i64", Value::I64(i64::MIN)),
        ("a.f32", Value::F32(0.5)),
        ("a.f64", Value::F64(0.25)),
        ("a.bool", Value::Bool(true)),
        ("a.string", Value::from("{% for é %}")),
        ("b.u8", Value::from(vec![1u8, 2])),
        ("b.i8", Value::from(vec![-1i8])),
        ("b.u16", Value::from(vec![1u16])),
        ("b.i16", Value::from(vec![-1i16])),
        ("b.u32", Value::from(vec![1u32])),
        ("b.i32", Value::from(vec![-1i32])),
        ("b.u64", Value::from(vec![1u64])),
        ("b.i64", Value::from(vec![-1i64])),
        ("b.f32", Value::from(vec![1f32])),
        ("b.f64", Value::from(vec![1f64])),
        ("b.bool", Value::from(vec![true, false])),
        ("b.strings", Value::from(vec![String::new(), "x".to_owned()])),
        ("b.empty", Value::Array(Array::U32(Vec::new()))),
    ];
    let writer = values.iter().fold(Writer::new(), |writer, (key, value)| writer.with(key, value.clone()));
    let dtypes = || Dtype::all().filter(|dtype| dtype.ggml_type_id().is_some());
    let tensors: Vec<TensorSpec> =
        dtypes().map(|dtype| TensorSpec::new(dtype.name(), dtype, [3, dtype.block_len()])).collect();
    let writer = tensors.iter().fold(writer, |writer, tensor| writer.with_tensor(tensor.clone()));
    writer.write(&path, content).unwrap();

    let file = File::open(&path).unwrap();
    let read: Vec<(&str, Value)> = file.metadata().iter().map(|(key, value)| (key, value.clone())).collect();
    assert_eq!(read, values);
    assert_eq!(file.tensors().len(), tensors.len());
    for spec in &tensors {
        let tensor = file.tensor(&spec.name).unwrap();
        assert_eq!(tensor.spec(), *spec);
        assert_eq!(tensor.bytes, &*content(spec).unwrap());
    }
}

/// Bytes that differ from tensor to tensor.
fn content(tensor: &TensorSpec) -> Result<Cow<'static, [u8]>, Error> {
    let seed = tensor.name.bytes().fold(0u8, u8::wrapping_add);
    Ok((0..tensor.byte_count().unwrap()).map(|index| seed.wrapping_add(index as u8)).collect::<Vec<u8>>().into())
}

#[test]
fn the_writer_refuses_what_the_format_cannot_hold() {
    fn check(tensors: &[TensorSpec], wanted: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.gguf");
        let writer = tensors.iter().fold(Writer::new(), |writer, tensor| writer.with_tensor(tensor.clone()));
        let message = writer.write(&path, |_| Ok::<_, Error>(Cow::Borrowed(&[0u8; 4]))).unwrap_err().to_string();
        assert!(message.contains("out.gguf") && message.contains(wanted), "{message}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing may stay behind");
    }
    let spec = |dtype, shape: &[usize]| TensorSpec::new("t", dtype, shape);
    check(&[spec(Dtype::U8, &[4])], "type U8");
    check(&[spec(Dtype::Q4_0, &[2, 16])], "whole blocks");
    check(&[spec(Dtype::F32, &[1, 1, 1, 1, 1])], "four dimensions");
    check(&[spec(Dtype::F32, &[usize::MAX, 2])], "overflow");
    check(&[spec(Dtype::F32, &[1]), spec(Dtype::F32, &[1])], "occurs twice");
    check(&[spec(Dtype::F32, &[2])], "announced with 8 bytes, but 4 were given");
}

/// Writes a part of three: the first has the model's keys and no tensor, the others have tensors.
fn write_part(folder: &Path, name: &str, number: u16, tensors: &[&str]) {
    let mut writer = Writer::new().with("split.no", number).with("split.count", 3u16).with("split.tensors.count", 3i32);
    if number == 0 {
        writer = writer.with("general.architecture", "llama");
    }
    let specs = tensors.iter().map(|name| TensorSpec::new(*name, Dtype::F32, [2, 3]));
    specs.fold(writer, Writer::with_tensor).write(&folder.join(name), content).unwrap();
}

const PARTS: [&str; 3] = ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"];

fn write_parts(folder: &Path) {
    for (number, tensors) in [&[][..], &["a", "b"], &["c"]].into_iter().enumerate() {
        write_part(folder, PARTS[number], number as u16, tensors);
    }
}

#[test]
fn a_split_file_is_read_from_any_of_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    write_parts(folder.path());
    for part in PARTS {
        let path = folder.path().join(part);
        let file = File::open(&path).unwrap();
        assert_eq!(file.path(), path);
        assert_eq!(file.metadata().string("general.architecture").unwrap(), "llama");
        assert_eq!(file.tensors().map(|tensor| tensor.name).collect::<Vec<_>>(), ["a", "b", "c"]);
        for (name, part) in [("a", 1), ("b", 1), ("c", 2)] {
            let tensor = file.tensor(name).unwrap();
            assert_eq!(tensor.bytes, &*content(&tensor.spec()).unwrap());
            assert_eq!(file.path_of(name), folder.path().join(PARTS[part]));
            file.release(name);
            assert_eq!(tensor.bytes, &*content(&tensor.spec()).unwrap());
        }
    }
}

#[test]
fn parts_that_are_missing_or_do_not_belong_together_are_named() {
    fn check(change: impl Fn(&Path), opened: &str, wanted: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        write_parts(folder.path());
        change(folder.path());
        let message = File::open(folder.path().join(opened)).unwrap_err().to_string();
        assert!(wanted.iter().all(|part| message.contains(part)), "{message} lacks some of {wanted:?}");
    }
    let remove = |number: usize| move |folder: &Path| fs::remove_file(folder.join(PARTS[number])).unwrap();
    check(remove(2), PARTS[0], &[PARTS[0], "in 3 parts", PARTS[2], "missing", "download"]);
    check(remove(0), PARTS[1], &[PARTS[1], PARTS[0], "missing"]);
    let rename = |folder: &Path| fs::rename(folder.join(PARTS[1]), folder.join("model.gguf")).unwrap();
    check(rename, "model.gguf", &["model.gguf", "part 2 of 3", "must end in -00002-of-00003.gguf"]);
    let exchange = |folder: &Path| assert!(fs::copy(folder.join(PARTS[1]), folder.join(PARTS[2])).is_ok());
    check(exchange, PARTS[0], &[PARTS[2], "part 2 of 3 by its keys, but part 3 of 3 by its name"]);
    let whole = |folder: &Path| {
        let writer = Writer::new().with_tensor(TensorSpec::new("c", Dtype::F32, [1]));
        writer.write(&folder.join(PARTS[2]), content).unwrap();
    };
    check(whole, PARTS[0], &[PARTS[2], "no part of a split model by its keys"]);
    check(|folder| write_part(folder, PARTS[2], 2, &["b"]), PARTS[0], &[PARTS[2], "tensor \"b\"", "twice"]);
    check(|folder| write_part(folder, PARTS[2], 2, &[]), PARTS[0], &["announces 3 tensors, but the 3 parts have 2"]);
}

/// A GGUF file of raw parts, so that each of them can lie.
#[derive(Clone)]
struct Raw {
    magic: [u8; 4],
    version: u32,
    tensor_count: u64,
    key_count: u64,
    keys: Vec<u8>,
    tensors: Vec<u8>,
    data: Vec<u8>,
}

impl Raw {
    /// One key, two tensors of 32 bytes.
    fn valid() -> Raw {
        let tensors = [tensor("a", &[8], 0, 0), tensor("b", &[4, 2], 0, 32)].concat();
        let keys = key("k", 4, &7u32.to_le_bytes());
        Raw { magic: *b"GGUF", version: 3, tensor_count: 2, key_count: 1, keys, tensors, data: vec![1; 64] }
    }

    fn with_tensors(tensors: &[Vec<u8>]) -> Raw {
        Raw { tensor_count: tensors.len() as u64, tensors: tensors.concat(), ..Raw::valid() }
    }

    fn with_keys(keys: &[Vec<u8>]) -> Raw {
        Raw { key_count: keys.len() as u64, keys: keys.concat(), ..Raw::valid() }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.tensor_count.to_le_bytes());
        bytes.extend(self.key_count.to_le_bytes());
        bytes.extend(&self.keys);
        bytes.extend(&self.tensors);
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }
}

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

fn key(name: &str, type_id: u32, value: &[u8]) -> Vec<u8> {
    [text(name.as_bytes()).as_slice(), &type_id.to_le_bytes(), value].concat()
}

fn array(name: &str, type_id: u32, count: u64, items: &[u8]) -> Vec<u8> {
    key(name, 9, &[&type_id.to_le_bytes(), count.to_le_bytes().as_slice(), items].concat())
}

/// Extents as the file has them, innermost first.
fn tensor(name: &str, extents: &[u64], type_id: u32, offset: u64) -> Vec<u8> {
    let mut bytes = text(name.as_bytes());
    bytes.extend((extents.len() as u32).to_le_bytes());
    bytes.extend(extents.iter().flat_map(|extent| extent.to_le_bytes()));
    bytes.extend(type_id.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

fn open_bytes(bytes: &[u8]) -> Result<(), Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    fs::write(&path, bytes).unwrap();
    let file = File::open(&path)?;
    // What is accepted must be safe to read up to its last byte.
    for tensor in file.tensors() {
        assert_eq!(tensor.dtype.bytes_for(tensor.elements()), Some(tensor.bytes.len()));
        std::hint::black_box(tensor.bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
        assert!(file.tensor(tensor.name).is_ok());
    }
    for (key, value) in file.metadata().iter() {
        std::hint::black_box((file.metadata().u32(key).is_ok(), value.describe()));
    }
    Ok(())
}

#[test]
fn hostile_files_are_refused_with_their_reason() {
    fn check(bytes: &[u8], is_wanted: impl Fn(&Error) -> bool, part: &str) {
        let error = open_bytes(bytes).unwrap_err();
        let message = error.to_string();
        assert!(is_wanted(&error) && message.contains(part) && message.contains("x.gguf"), "{error:?}\n{message}");
    }
    let valid = Raw::valid();
    open_bytes(&valid.bytes()).unwrap();
    open_bytes(&Raw { version: 2, ..valid.clone() }.bytes()).unwrap();

    // What it is.
    check(b"", |error| matches!(error, Error::WrongKind { .. }), "empty");
    check(b"GG", |error| matches!(error, Error::NotGguf { .. }), "\"GG\"");
    check(b"PK\x03\x04....", |error| matches!(error, Error::NotGguf { .. }), "zip");
    check(b"version https://git-lfs", |error| matches!(error, Error::NotGguf { .. }), "git lfs pull");
    check(b"GGUF\x03\0", |error| matches!(error, Error::Truncated { .. }), "version");
    let version = |version| Raw { version, ..valid.clone() }.bytes();
    check(&version(1), |error| matches!(error, Error::GgufVersion { version: 1, .. }), "version 1");
    check(&version(4), |error| matches!(error, Error::GgufVersion { version: 4, .. }), "versions 2 and 3");
    check(&version(0), |error| matches!(error, Error::GgufVersion { version: 0, .. }), "version 0");
    check(&version(3u32.swap_bytes()), |error| matches!(error, Error::BigEndian { .. }), "little-endian");

    // Counts, each refused before anything is allocated for it.
    let huge = |error: &Error| matches!(error, Error::HugeCount { .. });
    check(&Raw { tensor_count: u64::MAX, ..valid.clone() }.bytes(), huge, "tensor count");
    check(&Raw { tensor_count: 1 << 40, ..valid.clone() }.bytes(), huge, "tensor count");
    check(&Raw { key_count: u64::MAX, ..valid.clone() }.bytes(), huge, "key count");
    for type_id in [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12] {
        check(&Raw::with_keys(&[array("k", type_id, u64::MAX / 2, &[])]).bytes(), huge, "array of key \"k\"");
    }
    let long_name = [&u64::MAX.to_le_bytes(), b"name".as_slice()].concat();
    check(&Raw::with_keys(&[long_name]).bytes(), |error| matches!(error, Error::Malformed { .. }), "at most 65535");
    let long_text = key("k", 8, &(1u64 << 60).to_le_bytes());
    check(&Raw::with_keys(&[long_text]).bytes(), |error| matches!(error, Error::Truncated { .. }), "key \"k\"");

    // Keys.
    let malformed = |error: &Error| matches!(error, Error::Malformed { .. });
    check(&Raw::with_keys(&[key("k", 13, &[0; 8])]).bytes(), malformed, "value type 13");
    check(&Raw::with_keys(&[key("k", 7, &[2])]).bytes(), malformed, "only 0 and 1");
    check(&Raw::with_keys(&[key("k", 8, &text(b"\xff\xfe"))]).bytes(), malformed, "not UTF-8");
    check(&Raw::with_keys(&[array("k", 9, 1, &[0; 12])]).bytes(), malformed, "arrays of arrays");
    check(&Raw::with_keys(&[array("k", 99, 0, &[])]).bytes(), malformed, "value type 99");
    let twice = [key("k", 0, &[1]), key("k", 0, &[1])];
    check(&Raw::with_keys(&twice).bytes(), |error| matches!(error, Error::Duplicate { .. }), "\"k\" occurs twice");
    for alignment in [0u32, 3, 1 << 30] {
        let keys = [key("general.alignment", 4, &alignment.to_le_bytes())];
        check(&Raw::with_keys(&keys).bytes(), malformed, "no alignment");
    }
    let keys = [key("general.alignment", 8, &text(b"32"))];
    check(&Raw::with_keys(&keys).bytes(), |error| matches!(error, Error::WrongType { .. }), "should be a u32");

    // Tensors.
    let outside = |error: &Error| matches!(error, Error::OffsetOutside { .. });
    let with_tensor = |name: &str, extents: &[u64], type_id, offset| {
        Raw::with_tensors(&[tensor(name, extents, type_id, offset)]).bytes()
    };
    check(&with_tensor("a", &[8], 0, 64), outside, "past the end");
    check(&with_tensor("a", &[8], 0, u64::MAX - 31), outside, "past the end");
    check(&with_tensor("a", &[1 << 40], 0, 0), outside, "past the end");
    check(
        &with_tensor("a", &[8], 0, 4),
        |error| matches!(error, Error::Misaligned { .. }),
        "multiple of the alignment 32",
    );
    let shape = |error: &Error| matches!(error, Error::Shape { .. });
    check(&with_tensor("a", &[u64::MAX, u64::MAX], 0, 0), shape, "overflows");
    check(&with_tensor("a", &[1 << 32, 1 << 32], 0, 0), shape, "overflows");
    check(&with_tensor("a", &[1 << 62], 0, 0), shape, "overflows");
    check(&with_tensor("a", &[16, 2], 2, 0), shape, "whole blocks of 32");
    check(&with_tensor("a", &[1; 5], 0, 0), malformed, "5 dimensions");
    let unsupported = |error: &Error| matches!(error, Error::UnsupportedDtype { .. });
    check(&with_tensor("a", &[256], 23, 0), unsupported, "IQ4_XS");
    check(&with_tensor("a", &[256], 777, 0), unsupported, "number 777");
    let overlap = [tensor("a", &[16], 0, 0), tensor("b", &[8], 0, 32)];
    check(&Raw::with_tensors(&overlap).bytes(), |error| matches!(error, Error::Overlap { .. }), "\"a\" and \"b\"");
    let twice = [tensor("a", &[8], 0, 0), tensor("a", &[8], 0, 32)];
    check(&Raw::with_tensors(&twice).bytes(), |error| matches!(error, Error::Duplicate { .. }), "\"a\" occurs twice");
}

#[test]
fn tensors_without_elements_or_dimensions_are_fine() {
    let tensors = [tensor("empty", &[0, 4], 0, 0), tensor("scalar", &[], 0, 0), tensor("b", &[8], 0, 32)];
    open_bytes(&Raw::with_tensors(&tensors).bytes()).unwrap();
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let bytes = Raw::valid().bytes();
    for length in 0..bytes.len() {
        let error = open_bytes(&bytes[..length]).expect_err("a cut file was let in");
        assert!(error.to_string().contains("x.gguf"), "cut at {length}: {error}");
    }
}

#[test]
fn a_folder_or_a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let message = File::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("this is a folder"), "{message}");
    let message = File::open(folder.path().join("no.gguf")).unwrap_err().to_string();
    assert!(message.contains("no.gguf") && message.contains("check the spelling"), "{message}");
}

/// A sparse file takes no room on disk, so its length is no proof that a count is honest.
#[test]
fn a_long_sparse_file_does_not_make_a_long_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.gguf");
    let raw = Raw { tensor_count: 1 << 30, ..Raw::with_keys(&[]) };
    fs::write(&path, &raw.bytes()[..24]).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1 << 36).unwrap();
    let error = File::open(&path).unwrap_err();
    assert!(matches!(error, Error::HugeCount { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = fs::read(fixture("tiny.gguf")).unwrap();
        for (index, mask) in &flips {
            let length = bytes.len();
            bytes[index.index(length)] ^= mask;
        }
        let _ = open_bytes(&bytes);
    }

    #[test]
    fn flipped_structure_never_panics(flips in prop::collection::vec((0usize..160, any::<u8>()), 1..4)) {
        let mut bytes = Raw::valid().bytes();
        for (index, mask) in &flips {
            bytes[*index] ^= mask;
        }
        let _ = open_bytes(&bytes);
    }
}

#[test]
fn the_real_student_opens() {
    let Some(path) = real_student() else { return };
    let file = File::open(path).unwrap();
    assert_eq!(file.metadata().u32("llama.block_count").unwrap(), 30);
    assert_eq!(file.metadata().strings("tokenizer.ggml.tokens").unwrap().len(), 49152);
    let tensor = file.tensor("blk.29.ffn_down.weight").unwrap();
    assert_eq!(tensor.shape, [576, 1536]);
    assert_eq!(tensor.dtype.bytes_for(tensor.elements()), Some(tensor.bytes.len()));
    assert_eq!(file.tensors().len(), 272);
}

fn real_student() -> Option<PathBuf> {
    let path = std::env::var_os("ALUDEL_TEST_STUDENT").map(PathBuf::from).filter(|path| path.exists());
    if path.is_none() {
        assert!(std::env::var_os("ALUDEL_REQUIRE_STUDENT").is_none(), "ALUDEL_TEST_STUDENT names no file");
        eprintln!("skipped: ALUDEL_TEST_STUDENT names no file");
    }
    path
}
