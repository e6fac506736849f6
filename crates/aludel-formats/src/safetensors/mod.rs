//! Safetensors files: one file, or a folder of shards, is opened as one set of named tensors, and files are written one
//! tensor at a time under Hugging Face's names. The `safetensors` crate parses them, after checks of what it does not
//! verify or cannot name. Which tensors a model has is left to the callers.

mod header;
mod save;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result, nearest};
use crate::folder::list_files;
use crate::json::read_json;
use crate::mapping::{Mapped, map_file};
use crate::tensor::{Dtype, TensorView};

pub use save::{DEFAULT_MAX_SHARD_BYTES, hf_metadata, save_file, save_sharded};

/// The name of a model that is one file.
pub const SINGLE_FILE_NAME: &str = "model.safetensors";
/// The name of the index of shards.
pub const INDEX_FILE_NAME: &str = "model.safetensors.index.json";

/// The tensors of one file or of a folder of shards.
#[derive(Debug)]
pub struct Weights {
    /// The file, or the folder.
    path: PathBuf,
    files: Vec<OpenFile>,
    /// Where each tensor is: (file, place in its entries). Ordered, so that listing is the same everywhere.
    index: BTreeMap<String, (usize, usize)>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    map: Mapped,
    metadata: HashMap<String, String>,
    entries: Vec<Entry>,
}

/// A tensor as the checked header has it.
#[derive(Debug)]
struct Entry {
    name: String,
    /// The type's name in the header; not every legal one is read here.
    dtype_name: String,
    shape: Vec<usize>,
    /// In the file.
    bytes: Range<usize>,
}

impl Weights {
    /// Opens one `.safetensors` file.
    ///
    /// # Errors
    /// A variant of [`enum@Error`] for each way in which such a file can be malformed, truncated or inconsistent.
    pub fn open_file(path: impl AsRef<Path>) -> Result<Weights> {
        let path = path.as_ref();
        let file = open(path)?;
        let names = file.entries.iter().enumerate();
        let index = names.map(|(place, entry)| (entry.name.clone(), (0, place))).collect();
        Ok(Weights { path: path.to_owned(), files: vec![file], index })
    }

    /// Opens the weights of a model folder: `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// As [`open_file`](Weights::open_file); [`Error::IncompleteFolder`] if there are no such weights, and an error for
    /// an index that does not agree with its shards.
    pub fn open_folder(folder: impl AsRef<Path>) -> Result<Weights> {
        let folder = folder.as_ref();
        let single = folder.join(SINGLE_FILE_NAME);
        // As transformers does it, one file goes before an index.
        if aludel_files::is_there(&single) {
            let weights = Weights::open_file(&single)?;
            return Ok(Weights { path: folder.to_owned(), ..weights });
        }
        let index = folder.join(INDEX_FILE_NAME);
        if aludel_files::is_there(&index) { open_shards(folder, &index) } else { Err(no_weights(folder)) }
    }

    /// The file or folder that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// The file that holds the tensor of that name; what was opened, if none does.
    pub fn path_of(&self, name: &str) -> &Path {
        self.index.get(name).map_or(&self.path, |(file, _)| &self.files[*file].path)
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] with the nearest names, [`Error::UnsupportedDtype`].
    pub fn get(&self, name: &str) -> Result<TensorView<'_>> {
        let Some((file, place)) = self.index.get(name) else {
            let nearest = nearest(name, self.names());
            return Err(Error::MissingTensor { path: self.path.clone(), name: name.to_owned(), nearest });
        };
        self.files[*file].view(*place)
    }

    /// Gives the memory of a tensor that was read back to the system, since mapped bytes count as the process's memory from their
    /// first use on. They can be read again.
    pub fn release(&self, name: &str) {
        if let Some((file, place)) = self.index.get(name) {
            let file = &self.files[*file];
            file.map.release(&file.entries[*place].bytes);
        }
    }

    /// Gives the memory of all files back. Reading a tensor maps pages of its neighbours, too, which [`Weights::release`] leaves.
    pub fn release_all(&self) {
        self.files.iter().for_each(|file| file.map.release(&(0..file.map.len())));
    }

    /// All tensors, sorted by name; a type that is not read here is an error in its place.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Result<TensorView<'_>>> {
        self.index.values().map(|(file, place)| self.files[*file].view(*place))
    }

    /// The `__metadata__` of the (first) file.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.files[0].metadata
    }
}

impl OpenFile {
    fn view(&self, place: usize) -> Result<TensorView<'_>> {
        let entry = &self.entries[place];
        let Some(dtype) = Dtype::from_safetensors_name(&entry.dtype_name) else {
            let supported: Vec<&str> = Dtype::all().filter(|dtype| !dtype.is_quantised()).map(Dtype::name).collect();
            return Err(Error::UnsupportedDtype {
                path: self.path.clone(),
                tensor: entry.name.clone(),
                dtype: entry.dtype_name.clone(),
                supported: supported.join(", "),
            });
        };
        let bytes = &self.map[entry.bytes.clone()];
        Ok(TensorView { name: &entry.name, dtype, shape: entry.shape.clone(), bytes })
    }
}

fn open(path: &Path) -> Result<OpenFile> {
    let map = map_file(path)?;
    let (entries, metadata) = header::parse(path, &map)?;
    Ok(OpenFile { path: path.to_owned(), map, metadata, entries })
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn open_shards(folder: &Path, index_path: &Path) -> Result<Weights> {
    let index: Index = read_json(index_path)?;
    if index.weight_map.is_empty() {
        let reason = "it names no tensor, so take the file from the model's source again".to_owned();
        return Err(Error::Malformed { path: index_path.to_owned(), place: "weight_map".to_owned(), reason });
    }
    let mut shards: BTreeMap<&str, usize> = BTreeMap::new();
    let mut weights = Weights { path: folder.to_owned(), files: Vec::new(), index: BTreeMap::new() };
    for (tensor, shard) in &index.weight_map {
        if shards.contains_key(shard.as_str()) {
            continue;
        }
        if !is_plain_file_name(shard) {
            let (path, tensor, shard) = (index_path.to_owned(), tensor.clone(), shard.clone());
            return Err(Error::ShardName { path, tensor, shard });
        }
        shards.insert(shard, weights.files.len());
        add_shard(&mut weights, &folder.join(shard))?;
    }
    for (tensor, shard) in &index.weight_map {
        let place = weights.index.get(tensor);
        if place.is_none_or(|(file, _)| Some(file) != shards.get(shard.as_str())) {
            let in_shard = weights.files[shards[shard.as_str()]].entries.iter().map(|entry| entry.name.as_str());
            let nearest = nearest(tensor, in_shard);
            return Err(Error::MissingTensor { path: folder.join(shard), name: tensor.clone(), nearest });
        }
    }
    Ok(weights)
}

fn add_shard(weights: &mut Weights, path: &Path) -> Result<()> {
    let file = open(path)?;
    for (place, entry) in file.entries.iter().enumerate() {
        if weights.index.insert(entry.name.clone(), (weights.files.len(), place)).is_some() {
            // Two shards have it, and which of them is meant cannot be known.
            return Err(Error::Duplicate { path: path.to_owned(), what: "tensor", name: entry.name.clone() });
        }
    }
    weights.files.push(file);
    Ok(())
}

/// A name that can only be a file in the index's own folder, on any system.
fn is_plain_file_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0'])
}

fn no_weights(folder: &Path) -> Error {
    if !folder.is_dir() {
        return Error::io(folder, "open the model folder")(std::io::ErrorKind::NotFound.into());
    }
    let is_pickled = folder.join("pytorch_model.bin").exists() || folder.join("pytorch_model.bin.index.json").exists();
    let mend = if is_pickled {
        "pickled weights can run code and are never loaded, so save the model as safetensors first"
    } else {
        "download the weights into it"
    };
    Error::IncompleteFolder {
        path: folder.to_owned(),
        wanted: "model.safetensors or model.safetensors.index.json",
        found: list_files(folder),
        mend: mend.to_owned(),
    }
}
