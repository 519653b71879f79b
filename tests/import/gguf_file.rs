//! Changes GGUF files: adds metadata entries; adds, replaces and removes tensors; and splits a file into two parts, as
//! the program `gguf-split` does.

/// The alignment of tensor data in bytes. This is the default of the GGUF format.
const ALIGNMENT: usize = 32;

/// A tensor of a GGUF file.
#[derive(Clone)]
pub(super) struct Tensor {
    pub(super) name: String,
    /// The number by which the GGUF format identifies the element type.
    pub(super) kind: u32,
    /// The lengths of the axes, in the order of the file: elements that are neighbors along the first axis are stored
    /// next to each other.
    pub(super) axes: Vec<u64>,
    pub(super) bytes: Vec<u8>,
}

/// A GGUF file: encoded metadata entries, and tensors.
#[derive(Clone)]
pub(super) struct GgufFile {
    values: Vec<u8>,
    value_count: u64,
    pub(super) tensors: Vec<Tensor>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

impl GgufFile {
    /// Parses a file whose first tensor is `token_embd.weight`. Finds the list of tensors by searching for this name.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let first = text("token_embd.weight");
        let infos = bytes.windows(first.len()).position(|window| window == first).unwrap();
        let mut at = infos;
        let mut number = |size: usize| {
            let mut word = [0; 8];
            word[..size].copy_from_slice(&bytes[at..at + size]);
            at += size;
            u64::from_le_bytes(word)
        };
        let mut tensors = Vec::new();
        for _ in 0..u64::from_le_bytes(bytes[8..16].try_into().unwrap()) {
            let name: Vec<u8> = (0..number(8)).map(|_| number(1) as u8).collect();
            let axes = (0..number(4)).map(|_| number(8)).collect();
            let (kind, offset) = (number(4) as u32, number(8) as usize);
            tensors.push((offset, Tensor { name: String::from_utf8(name).unwrap(), kind, axes, bytes: Vec::new() }));
        }
        let data = &bytes[at.next_multiple_of(ALIGNMENT)..];
        let offsets: Vec<_> = tensors.iter().map(|(offset, _)| *offset).collect();
        for (offset, tensor) in &mut tensors {
            let end = offsets.iter().copied().filter(|other| *other > *offset).min().unwrap_or(data.len());
            tensor.bytes = data[*offset..end].to_vec();
        }
        Self {
            values: bytes[24..infos].to_vec(),
            value_count: u64::from_le_bytes(bytes[16..24].try_into().unwrap()),
            tensors: tensors.into_iter().map(|(_, tensor)| tensor).collect(),
        }
    }

    /// Adds a metadata entry with the type `kind` and the encoded value `value`.
    fn with_value(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.values.extend([&text(key)[..], &kind.to_le_bytes(), value].concat());
        self.value_count += 1;
        self
    }

    pub(super) fn with_text(self, key: &str, value: &str) -> Self {
        self.with_value(key, 8, &text(value))
    }

    pub(super) fn with_float(self, key: &str, value: f32) -> Self {
        self.with_value(key, 6, &value.to_le_bytes())
    }

    pub(super) fn with_integer(self, key: &str, value: u16) -> Self {
        self.with_value(key, 2, &value.to_le_bytes())
    }

    /// Renames the model's architecture, also in the metadata keys that begin with the name of the architecture.
    pub(super) fn with_architecture(mut self, from: &str, to: &str) -> Self {
        let mut values = Vec::new();
        let mut rest = &self.values[..];
        while let [byte, after @ ..] = rest {
            let length = u64::from_le_bytes(rest[..8.min(rest.len())].try_into().unwrap_or([0xff; 8])) as usize;
            match rest.get(8..).filter(|text| length < 1000 && text.starts_with(from.as_bytes())) {
                Some(text) if text.len() >= length => {
                    values.extend(((length + to.len() - from.len()) as u64).to_le_bytes());
                    values.extend(to.as_bytes());
                    rest = &text[from.len()..];
                }
                _ => {
                    values.push(*byte);
                    rest = after;
                }
            }
        }
        self.values = values;
        self
    }

    pub(super) fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = [&b"GGUF\x03\0\0\0"[..], &(self.tensors.len() as u64).to_le_bytes()].concat();
        out.extend(self.value_count.to_le_bytes());
        out.extend(&self.values);
        let mut data = Vec::new();
        for tensor in &self.tensors {
            out.extend(text(&tensor.name));
            out.extend((tensor.axes.len() as u32).to_le_bytes());
            tensor.axes.iter().for_each(|axis| out.extend(axis.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend((data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
            data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        [out, data].concat()
    }

    /// Splits the file into two parts, and returns their bytes. The first part has `count` tensors.
    pub(super) fn split(&self, count: usize) -> [Vec<u8>; 2] {
        let (first, second) = self.tensors.split_at(count);
        let part = |file: Self, number: u16, tensors: &[Tensor]| {
            let file = Self { tensors: tensors.to_vec(), ..file };
            file.with_integer("split.no", number).with_integer("split.count", 2).write()
        };
        let none = Self { values: Vec::new(), value_count: 0, tensors: Vec::new() };
        [part(self.clone(), 0, first), part(none, 1, second)]
    }
}
