//! Writes a GGUF version 3 file, one tensor at a time, so that a model is never completely in memory. Which keys and
//! tensors a model needs, and the bytes of each tensor, are left to the caller.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use super::metadata::Metadata;
use super::value::{Value, encode_string};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MOST_DIMENSIONS};
use crate::atomic;
use crate::error::{Error, Result};
use crate::tensor::TensorSpec;

const VERSION: u32 = 3;

/// A GGUF file before it is written: its metadata and its tensors, in order.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    metadata: Metadata,
    tensors: Vec<TensorSpec>,
}

impl Writer {
    /// A file without keys and tensors.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Adds a key. The alignment is always the default of 32 and needs no key.
    ///
    /// # Panics
    /// If the key was already added, or is `general.alignment`: the caller's mistake.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Writer {
        assert!(key != ALIGNMENT_KEY, "the alignment is the writer's own");
        assert!(self.metadata.insert(key.to_owned(), value.into()), "key {key} is added twice");
        self
    }

    /// Adds a tensor.
    #[must_use]
    pub fn with_tensor(mut self, tensor: TensorSpec) -> Writer {
        self.tensors.push(tensor);
        self
    }

    /// Writes the file. `bytes_of` is called once for each tensor, in the order in which they were added.
    ///
    /// # Errors
    /// Those of `bytes_of`; [`Error::ByteCount`] if it gives more or fewer bytes than type and shape need;
    /// [`Error::Shape`], [`Error::UnsupportedDtype`] and [`Error::Duplicate`] for tensors that GGUF cannot hold; and
    /// those of [`atomic::write_file`]. After any of them an older file is untouched.
    pub fn write<'b, E: From<Error>>(
        &self,
        path: &Path,
        mut bytes_of: impl FnMut(&TensorSpec) -> Result<Cow<'b, [u8]>, E>,
    ) -> Result<(), E> {
        self.write_in_parts(path, |tensor, put| put(&bytes_of(tensor)?).map_err(E::from))
    }

    /// As [`Writer::write`] for tensors that are made part by part: `put_tensor` gives the bytes of a tensor, in order, to the function
    /// that it gets.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write_in_parts<E: From<Error>>(
        &self,
        path: &Path,
        mut put_tensor: impl FnMut(&TensorSpec, &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (header, lengths) = self.header(path)?;
        atomic::write_file(path, |output| {
            output.put(&header)?;
            for (tensor, length) in self.tensors.iter().zip(lengths) {
                let mut found = 0;
                put_tensor(tensor, &mut |bytes| {
                    found += bytes.len();
                    output.put(bytes)
                })?;
                if found != length {
                    return Err(Error::ByteCount {
                        path: path.to_owned(),
                        tensor: tensor.name.clone(),
                        wanted_bytes: length as u64,
                        found_bytes: found as u64,
                    }
                    .into());
                }
                output.put(&PADDING[..padding_bytes(length)])?;
            }
            Ok(())
        })
    }

    /// Everything before the data, padded to the alignment, and the length of each tensor.
    fn header(&self, path: &Path) -> Result<(Vec<u8>, Vec<usize>)> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.metadata.keys().count() as u64).to_le_bytes());
        for (key, value) in self.metadata.iter() {
            encode_string(key, &mut bytes);
            bytes.extend(value.type_id().to_le_bytes());
            value.encode(&mut bytes);
        }
        let mut names = HashSet::new();
        let mut lengths = Vec::with_capacity(self.tensors.len());
        let mut offset = 0u64;
        for tensor in &self.tensors {
            if !names.insert(&tensor.name) {
                return Err(Error::Duplicate { path: path.to_owned(), what: "tensor", name: tensor.name.clone() });
            }
            let length = encode_tensor_info(path, tensor, offset, &mut bytes)?;
            offset += (length + padding_bytes(length)) as u64;
            lengths.push(length);
        }
        bytes.extend(&PADDING[..padding_bytes(bytes.len())]);
        Ok((bytes, lengths))
    }
}

const PADDING: [u8; DEFAULT_ALIGNMENT as usize] = [0; DEFAULT_ALIGNMENT as usize];

fn padding_bytes(length: usize) -> usize {
    length.next_multiple_of(DEFAULT_ALIGNMENT as usize) - length
}

fn encode_tensor_info(path: &Path, tensor: &TensorSpec, offset: u64, bytes: &mut Vec<u8>) -> Result<usize> {
    let Some(type_id) = tensor.dtype.ggml_type_id() else {
        return Err(Error::UnsupportedDtype {
            path: path.to_owned(),
            tensor: tensor.name.clone(),
            dtype: tensor.dtype.name().to_owned(),
            supported: "F32, F16, BF16, F64, I8 to I64 or a quantised type".to_owned(),
        });
    };
    let shape_error = |reason: &str| Error::Shape {
        path: path.to_owned(),
        tensor: tensor.name.clone(),
        dtype: tensor.dtype.name().to_owned(),
        shape: tensor.shape.iter().map(|extent| *extent as u64).collect(),
        reason: reason.to_owned(),
    };
    if tensor.shape.len() > MOST_DIMENSIONS as usize {
        return Err(shape_error("GGUF holds at most four dimensions"));
    }
    let length = tensor
        .byte_count()
        .ok_or_else(|| shape_error("its rows must fill whole blocks and its size must not overflow"))?;
    encode_string(&tensor.name, bytes);
    bytes.extend((tensor.shape.len() as u32).to_le_bytes());
    for extent in tensor.shape.iter().rev() {
        bytes.extend((*extent as u64).to_le_bytes());
    }
    bytes.extend(type_id.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    Ok(length)
}
