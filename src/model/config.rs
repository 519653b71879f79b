//! The sizes of a BitNet b1.58 decoder, and the check that the integer arithmetic cannot overflow with these sizes.

use crate::{
    error::Error,
    kernels::attention::{MAX_CONTEXT, MAX_HEAD_DIM},
    numbers::fixed::Scale,
};

/// Sizes and constants of a model. Call [`ModelConfig::check`] on a new value before using it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The number of decoder layers.
    pub layers: usize,
    /// The number of features of each token in the residual stream.
    pub width: usize,
    /// The number of query heads in each layer.
    pub heads: usize,
    /// The number of key/value heads in each layer. It must divide `heads`.
    pub kv_heads: usize,
    /// The number of features of one attention head. It must be even.
    pub head_dim: usize,
    /// The number of features of each token in the hidden layer of the feed-forward block.
    pub ffn_width: usize,
    /// The number of tokens in the vocabulary.
    pub vocab: usize,
    /// The number of tokens in a sequence.
    pub context: usize,
    /// Base of the frequencies of rotary position embedding.
    pub rope_theta: u32,
    /// Constant that RMSNorm adds to the mean square.
    pub norm_epsilon: f64,
    /// The number n of fraction bits of values in the residual stream. The values are within ±2^(31 − n).
    pub residual_fraction_bits: u32,
}

impl ModelConfig {
    /// The sizes of the model `microsoft/bitnet-b1.58-2B-4T`, except that the context is 2048 instead of 4096 tokens.
    /// The command `adapter inspect` compares the size of an adapter with the size of this model's weights.
    pub const BITNET_2B4T: Self = Self {
        layers: 30,
        width: 2560,
        heads: 20,
        kv_heads: 5,
        head_dim: 128,
        ffn_width: 6912,
        vocab: 128_256,
        context: 2048,
        rope_theta: 500_000,
        norm_epsilon: 1e-5,
        residual_fraction_bits: 16,
    };

    /// The smallest sizes that tests and examples use.
    pub const TINY: Self = Self {
        layers: 1,
        width: 32,
        heads: 2,
        kv_heads: 1,
        head_dim: 16,
        ffn_width: 48,
        vocab: 64,
        context: 128,
        rope_theta: 10_000,
        norm_epsilon: 1e-5,
        residual_fraction_bits: 16,
    };

    /// Returns the config unchanged, or an error if a size is not permitted. With the permitted sizes, no intermediate
    /// value of the computation overflows.
    pub fn check(self) -> Result<Self, Error> {
        let ranges = [
            ("layers", self.layers, 1, 512),
            ("width", self.width, 1, 1 << 15),
            ("heads", self.heads, 1, 255),
            ("kv_heads", self.kv_heads, 1, self.heads),
            ("head_dim", self.head_dim, 2, MAX_HEAD_DIM),
            ("ffn_width", self.ffn_width, 1, 1 << 16),
            ("vocab", self.vocab, 1, 132_104),
            ("context", self.context, 1, MAX_CONTEXT),
            ("rope_theta", self.rope_theta as usize, 1, 1 << 30),
            ("residual_fraction_bits", self.residual_fraction_bits as usize, 0, 30),
        ];
        for (what, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return Err(Error::Value { what, value: value as i64 });
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(Error::Value { what: "kv_heads (must divide heads)", value: self.kv_heads as i64 });
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(Error::Value { what: "head_dim (must be even)", value: self.head_dim as i64 });
        }
        // the backward pass by key adds values of at most 2^45, one for each pair of key and query, in i64
        let queries = self.context * (self.heads / self.kv_heads);
        if queries > 1 << 16 {
            return Err(Error::Value { what: "context · heads / kv_heads", value: queries as i64 });
        }
        if self.heads * self.head_dim > 1 << 16 {
            return Err(Error::Value { what: "heads · head_dim", value: (self.heads * self.head_dim) as i64 });
        }
        if !(1e-12..=1.0).contains(&self.norm_epsilon) {
            return Err(Error::Value { what: "norm_epsilon (1e-12..=1)", value: self.norm_epsilon as i64 });
        }
        Ok(self)
    }

    /// Returns `norm_epsilon` as a mantissa and a power of two, which is the form that kernels read.
    pub fn epsilon(&self) -> Scale {
        Scale::from_f64(self.norm_epsilon).unwrap_or(Scale::ZERO)
    }

    /// Returns the number of parameters: the ternary weights, the embedding, and the gains of the norms. The output
    /// head adds none, because it uses the embedding.
    pub fn parameters(&self) -> u64 {
        let gains = self.layers * (2 * self.width + self.heads * self.head_dim + self.ffn_width) + self.width;
        (self.ternary_weights() + self.vocab * self.width + gains) as u64
    }

    /// Returns the number of ternary weights in all layers together.
    pub fn ternary_weights(&self) -> usize {
        self.layers * Linear::ALL.iter().map(|&linear| linear.shape(self)).map(|(i, o)| i * o).sum::<usize>()
    }
}

/// One of the seven linear layers that every decoder layer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Linear {
    /// The query projection.
    Query,
    /// The key projection.
    Key,
    /// The value projection.
    Value,
    /// The output projection of attention.
    Output,
    /// The gate projection of the feed-forward block.
    Gate,
    /// The up projection of the feed-forward block.
    Up,
    /// The down projection of the feed-forward block.
    Down,
}

impl Linear {
    /// All seven linear layers of a decoder layer, in canonical order.
    pub const ALL: [Self; 7] = [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// Returns the name of the linear layer in adapters, such as `attention.q` or `feed_forward.down`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "attention.q",
            Self::Key => "attention.k",
            Self::Value => "attention.v",
            Self::Output => "attention.o",
            Self::Gate => "feed_forward.gate",
            Self::Up => "feed_forward.up",
            Self::Down => "feed_forward.down",
        }
    }

    /// Returns the module path of the linear layer inside a decoder layer of Hugging Face's `BitNetForCausalLM`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Query => "self_attn.q_proj",
            Self::Key => "self_attn.k_proj",
            Self::Value => "self_attn.v_proj",
            Self::Output => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    /// Returns the sizes of the linear layer in a model, as (in_features, out_features).
    pub fn shape(self, config: &ModelConfig) -> (usize, usize) {
        let (width, q, kv) = (config.width, config.heads * config.head_dim, config.kv_heads * config.head_dim);
        match self {
            Self::Query => (width, q),
            Self::Key | Self::Value => (width, kv),
            Self::Output => (q, width),
            Self::Gate | Self::Up => (width, config.ffn_width),
            Self::Down => (config.ffn_width, width),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitnet_2b4t_is_valid_and_has_the_published_parameter_count() {
        let config = ModelConfig::BITNET_2B4T.check().unwrap();
        assert_eq!(config.ternary_weights(), 2_084_044_800);
        assert_eq!(config.parameters(), 2_084_044_800 + 128_256 * 2560 + 30 * (3 * 2560 + 6912) + 2560);
    }

    #[test]
    fn context_times_group_size_is_bounded() {
        let config = |kv_heads| ModelConfig {
            width: 64,
            heads: 64,
            kv_heads,
            head_dim: 2,
            context: MAX_CONTEXT,
            ..ModelConfig::TINY
        };
        assert!(config(2).check().is_ok());
        assert!(config(1).check().is_err());
    }
}
