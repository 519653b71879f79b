//! The binary encoding of an optimizer. It contains the settings and the state of the optimizer, which together with a
//! gradient determine the next step. All numbers are little-endian. Each optimizer has exactly one encoding.
//!
//! ```text
//! "R3OP"  version u32  method u32 (0: AdamW, 1: Lion)
//! beta1 f64  beta2 f64  epsilon f64  learning_rate f64  weight_decay f64  clip_norm f64
//! warmup_steps u64  step u64  beta_products f64 × 2  number of matrices u32
//! for each matrix:
//!   length of the name u32  rows u32  columns u32  name
//!   first moments f32 × rows × columns  second moments f32 × rows × columns (AdamW only)
//! ```

use super::{MAX_NAME_BYTES, Method, Moments, Optimizer, Settings};
use crate::error::Error;

const MAGIC: &[u8; 4] = b"R3OP";
const VERSION: u32 = 1;

impl Optimizer {
    /// Encodes the settings and the state of this optimizer.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Settings { method, learning_rate, warmup_steps, weight_decay, clip_norm } = self.settings;
        let [beta1, beta2] = method.betas();
        let (kind, epsilon) = match method {
            Method::AdamW { epsilon, .. } => (0u32, epsilon),
            Method::Lion { .. } => (1, 0.0),
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        for value in [beta1, beta2, epsilon, learning_rate, weight_decay, clip_norm] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(warmup_steps.to_le_bytes());
        bytes.extend(self.step.to_le_bytes());
        bytes.extend(self.beta_products.iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend((self.moments.len() as u32).to_le_bytes());
        for moments in &self.moments {
            for size in [moments.name.len(), moments.rows, moments.columns] {
                bytes.extend((size as u32).to_le_bytes());
            }
            bytes.extend(moments.name.as_bytes());
            bytes.extend(moments.first.iter().chain(&moments.second).flat_map(|value| value.to_le_bytes()));
        }
        bytes
    }

    /// Decodes an optimizer that [`to_bytes`](Self::to_bytes) encoded. Returns an error for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = StateReader(bytes);
        if reader.take(4)? != MAGIC {
            return Err(malformed("it does not begin with R3OP"));
        }
        if reader.u32()? != VERSION {
            return Err(malformed("its version is not supported"));
        }
        let kind = reader.u32()?;
        let [beta1, beta2, epsilon, learning_rate, weight_decay, clip_norm] = reader.f64s()?;
        let method = match kind {
            0 => Method::AdamW { beta1, beta2, epsilon },
            1 if epsilon.to_bits() == 0 => Method::Lion { beta1, beta2 },
            _ => return Err(malformed("its method is not supported")),
        };
        let settings = Settings { method, learning_rate, warmup_steps: reader.u64()?, weight_decay, clip_norm };
        settings.check()?;
        let step = reader.u64()?;
        let beta_products = reader.f64s()?;
        if !beta_products.iter().all(|product| (0.0..=1.0).contains(product)) {
            return Err(malformed("a product of betas is outside 0 to 1"));
        }
        let count = reader.u32()?;
        let moments = (0..count).map(|_| reader.moments(method)).collect::<Result<_, _>>()?;
        if !reader.0.is_empty() {
            return Err(malformed("there are bytes after its end"));
        }
        Ok(Self { settings, step, beta_products, moments })
    }
}

fn malformed(reason: &'static str) -> Error {
    Error::Malformed { what: "optimizer state", reason: reason.into() }
}

/// A reader of an encoded optimizer. It holds the bytes that have not been decoded yet.
struct StateReader<'a>(&'a [u8]);

impl<'a> StateReader<'a> {
    /// Returns the next `length` bytes. If fewer bytes remain, returns an error without allocating memory.
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(malformed("it is truncated"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| malformed("it is truncated"))
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    fn f64s<const N: usize>(&mut self) -> Result<[f64; N], Error> {
        let mut values = [0.0; N];
        for value in &mut values {
            *value = self.array().map(f64::from_le_bytes)?;
        }
        Ok(values)
    }

    fn moments(&mut self, method: Method) -> Result<Moments, Error> {
        let [name_bytes, rows, columns] = [self.u32()? as usize, self.u32()? as usize, self.u32()? as usize];
        if name_bytes > MAX_NAME_BYTES {
            return Err(malformed("the name of a matrix is too long"));
        }
        let name =
            std::str::from_utf8(self.take(name_bytes)?).map_err(|_| malformed("the name of a matrix is not UTF-8"))?;
        let elements = rows.checked_mul(columns).ok_or(malformed("it is truncated"))?;
        let first = self.f32s(elements)?;
        let second = if method.has_second_moment() { self.f32s(elements)? } else { Vec::new() };
        if !first.iter().all(|value| value.is_finite()) {
            return Err(malformed("a moment is not finite"));
        }
        if !second.iter().all(|value| (0.0..f32::INFINITY).contains(value)) {
            return Err(malformed("a second moment is negative or not finite"));
        }
        Ok(Moments { name: name.to_owned(), rows, columns, first, second })
    }

    fn f32s(&mut self, elements: usize) -> Result<Vec<f32>, Error> {
        let bytes = self.take(elements.checked_mul(4).ok_or(malformed("it is truncated"))?)?;
        Ok(bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }
}
