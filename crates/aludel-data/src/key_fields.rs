//! Options as named fields in one explicit encoding, from which the keys of caches, stores and run folders are made. Debug output
//! and complete structs change with the code; a key may change only with the meaning of its fields. The options themselves are
//! defined by their owners.

/// The fields of some options, for a key.
///
/// To describe a struct, destructure it with all its fields (`let Options { a, b } = options;`, never `..`), so that a new field
/// does not compile before it is considered here. Add it with [`Fields::with_unless`]: a new field at its default adds nothing, and
/// earlier keys remain valid. If a field changes its meaning, increase the version.
///
/// ```
/// use aludel_data::key_fields::Fields;
///
/// struct Options {
///     length: usize,
///     name: Option<String>,
///     /// New: false is what was done before.
///     is_new: bool,
/// }
///
/// fn fields(options: &Options) -> Fields {
///     let Options { length, name, is_new } = options;
///     Fields::new("options", 1).with("length", length).with("name", name).with_unless("is_new", is_new, &false)
/// }
///
/// let before = Fields::new("options", 1).with("length", &3_usize).with("name", &None::<String>);
/// assert_eq!(fields(&Options { length: 3, name: None, is_new: false }).hash(), before.hash());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields(Vec<u8>);

/// A value that fields can have: numbers, text, bytes, `bool`, and options, lists and further [`Fields`] of such.
pub trait Field {
    /// Appends an unambiguous encoding: a letter for its kind, its length if that is not fixed, and its bytes.
    fn write(&self, into: &mut Vec<u8>);
}

impl Fields {
    /// No fields yet. `kind` names what they describe, `version` is increased when the meaning of one of them changes.
    pub fn new(kind: &str, version: u32) -> Fields {
        let mut bytes = Vec::new();
        kind.write(&mut bytes);
        version.write(&mut bytes);
        Fields(bytes)
    }

    /// Adds a field, whatever its value.
    #[must_use]
    pub fn with(mut self, name: &str, value: &(impl Field + ?Sized)) -> Fields {
        name.write(&mut self.0);
        value.write(&mut self.0);
        self
    }

    /// Adds a field unless it has its default: for one that earlier versions of Aludel did not have.
    #[must_use]
    pub fn with_unless<T: Field + PartialEq + ?Sized>(self, name: &str, value: &T, default: &T) -> Fields {
        if value == default { self } else { self.with(name, value) }
    }

    /// A hash over all fields, in hexadecimal.
    pub fn hash(&self) -> String {
        blake3::hash(&self.0).to_hex().to_string()
    }

    /// An unambiguous encoding of all fields.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn write_bytes(kind: u8, bytes: &[u8], into: &mut Vec<u8>) {
    into.push(kind);
    into.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    into.extend_from_slice(bytes);
}

impl Field for str {
    fn write(&self, into: &mut Vec<u8>) {
        write_bytes(b't', self.as_bytes(), into);
    }
}

impl Field for String {
    fn write(&self, into: &mut Vec<u8>) {
        self.as_str().write(into);
    }
}

impl Field for Fields {
    fn write(&self, into: &mut Vec<u8>) {
        write_bytes(b'f', &self.0, into);
    }
}

impl Field for bool {
    fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&[b'b', u8::from(*self)]);
    }
}

/// Integers are encoded alike whatever their type, so that a field may become larger.
macro_rules! whole_numbers {
    ($($number:ty)*) => {$(
        impl Field for $number {
            fn write(&self, into: &mut Vec<u8>) {
                into.push(b'n');
                into.extend_from_slice(&(*self as i128).to_le_bytes());
            }
        }
    )*};
}

whole_numbers!(u16 u32 u64 usize i32 i64);

impl Field for f64 {
    fn write(&self, into: &mut Vec<u8>) {
        into.push(b'r');
        into.extend_from_slice(&self.to_bits().to_le_bytes());
    }
}

/// Encoded as `f64`.
impl Field for f32 {
    fn write(&self, into: &mut Vec<u8>) {
        f64::from(*self).write(into);
    }
}

impl<T: Field> Field for Option<T> {
    fn write(&self, into: &mut Vec<u8>) {
        match self {
            None => into.push(b'0'),
            Some(value) => {
                into.push(b'1');
                value.write(into);
            }
        }
    }
}

/// Bytes are a value of their own, not a list of numbers.
impl Field for [u8] {
    fn write(&self, into: &mut Vec<u8>) {
        write_bytes(b'x', self, into);
    }
}

impl<T: Field> Field for [T] {
    fn write(&self, into: &mut Vec<u8>) {
        into.push(b'l');
        into.extend_from_slice(&(self.len() as u64).to_le_bytes());
        self.iter().for_each(|value| value.write(into));
    }
}

impl<T: Field> Field for Vec<T> {
    fn write(&self, into: &mut Vec<u8>) {
        self.as_slice().write(into);
    }
}

impl<T: Field + ?Sized> Field for &T {
    fn write(&self, into: &mut Vec<u8>) {
        (**self).write(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_has_another_hash() {
        let new = || Fields::new("options", 1);
        let all = [
            new(),
            Fields::new("options", 2),
            Fields::new("option", 1),
            new().with("a", "b"),
            new().with("ab", ""),
            new().with("a", "").with("b", ""),
            new().with("a", &Some("b")),
            new().with("a", &None::<String>),
            new().with("a", &["b"][..]),
            new().with("a", &vec!["b", ""]),
            new().with("a", &vec![vec!["b"], vec![]]),
            new().with("a", &vec![vec![], vec!["b"]]),
            new().with("a", &1_u64),
            new().with("a", &-1_i64),
            new().with("a", &true),
            new().with("a", &1.0_f64),
            new().with("a", &new().with("b", "c")),
            new().with("a", &new()).with("b", "c"),
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert_ne!(a.hash(), b.hash());
            }
        }
    }

    /// Keys are stored on disks: the expected ones are literal here, and must not change.
    #[test]
    fn the_encoding_is_the_same_in_every_version() {
        let fields = Fields::new("options", 1)
            .with("text", "größer")
            .with("number", &3_u32)
            .with("real", &0.5_f32)
            .with("nothing", &None::<bool>)
            .with("list", &[Some(true), None][..])
            .with_unless("new", &7_usize, &7);
        assert_eq!(fields.hash(), "d985caacbbf5a8e7556897e95659b850d464f416930864b537ca9aa213a19101");
        let same = Fields::new("options", 1)
            .with("text", &"größer".to_string())
            .with("number", &3_usize)
            .with("real", &0.5_f64)
            .with("nothing", &None::<String>)
            .with("list", &vec![Some(true), None]);
        assert_eq!(fields, same);
    }
}
