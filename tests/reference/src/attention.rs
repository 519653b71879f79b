//! Rotary position embeddings (RoPE), and causal attention over one sequence, `out = softmax(q · kᵀ / √head_dim) · v`.
//! Several query heads share a key/value head.

use super::linear::{add, dot};

/// The sizes of the attention: the number of query heads (`heads`), the number of key/value heads that they share
/// (`kv_heads`), and the number of features of each head (`head_dim`).
#[derive(Clone, Copy)]
pub struct Heads {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

impl Heads {
    /// Returns the range of indexes that query head `h` of token `t` occupies in the queries `[tokens, heads,
    /// head_dim]`.
    fn query(self, t: usize, h: usize) -> std::ops::Range<usize> {
        span((t * self.heads + h) * self.head_dim, self.head_dim)
    }

    /// Returns the range of indexes that a key/value head of token `t` occupies in the keys and in the values `[tokens,
    /// kv_heads, head_dim]`. The head is the one that query head `h` reads.
    fn key(self, t: usize, h: usize) -> std::ops::Range<usize> {
        let group = self.heads / self.kv_heads;
        span((t * self.kv_heads + h / group) * self.head_dim, self.head_dim)
    }
}

fn span(first: usize, len: usize) -> std::ops::Range<usize> {
    first..first + len
}

/// Rotates each pair of features `(i, i + head_dim/2)` of every head by the angle `position · theta^(−2i/head_dim)`.
/// `direction` is 1 in the forward pass. In the backward pass it is −1, which transposes the rotation.
pub fn rope(
    x: &mut [f64], // [tokens, heads, head_dim]
    heads: usize,
    head_dim: usize,
    theta: f64,
    direction: f64,
) {
    let half = head_dim / 2;
    for (row, x) in x.chunks_exact_mut(head_dim).enumerate() {
        let position = (row / heads) as f64;
        for i in 0..half {
            let angle = direction * position * theta.powf(-2.0 * i as f64 / head_dim as f64);
            let ((sin, cos), a, b) = (angle.sin_cos(), x[i], x[half + i]);
            x[i] = a * cos - b * sin;
            x[half + i] = a * sin + b * cos;
        }
    }
}

pub fn attention_forward(
    q: &[f64], // [tokens, heads, head_dim], rotated
    k: &[f64], // [tokens, kv_heads, head_dim], rotated
    v: &[f64], // [tokens, kv_heads, head_dim]
    heads: Heads,
) -> Vec<f64> // out [tokens, heads, head_dim]
{
    let mut out = vec![0.0; q.len()];
    for t in 0..q.len() / (heads.heads * heads.head_dim) {
        for h in 0..heads.heads {
            for (s, p) in probabilities(q, k, heads, t, h).into_iter().enumerate() {
                add(&mut out[heads.query(t, h)], &v[heads.key(s, h)], p);
            }
        }
    }
    out
}

pub fn attention_backward(
    dout: &[f64], // [tokens, heads, head_dim]
    q: &[f64],    // [tokens, heads, head_dim], rotated
    k: &[f64],    // [tokens, kv_heads, head_dim], rotated
    v: &[f64],    // [tokens, kv_heads, head_dim]
    heads: Heads,
) -> [Vec<f64>; 3] // dq, dk, dv: as q, k, v
{
    let [mut dq, mut dk, mut dv] = [q, k, v].map(|x| vec![0.0; x.len()]);
    let scale = 1.0 / (heads.head_dim as f64).sqrt();
    for t in 0..q.len() / (heads.heads * heads.head_dim) {
        for h in 0..heads.heads {
            let (query, p) = (heads.query(t, h), probabilities(q, k, heads, t, h));
            let dp: Vec<f64> = (0..=t).map(|s| dot(&dout[query.clone()], &v[heads.key(s, h)])).collect();
            let mean = dot(&p, &dp);
            for s in 0..=t {
                let (key, ds) = (heads.key(s, h), scale * p[s] * (dp[s] - mean));
                add(&mut dq[query.clone()], &k[key.clone()], ds);
                add(&mut dk[key.clone()], &q[query.clone()], ds);
                add(&mut dv[key], &dout[query.clone()], p[s]);
            }
        }
    }
    [dq, dk, dv]
}

/// Returns the attention weights that query head `h` of token `t` gives to the tokens `0..=t`.
fn probabilities(q: &[f64], k: &[f64], heads: Heads, t: usize, h: usize) -> Vec<f64> {
    let scale = 1.0 / (heads.head_dim as f64).sqrt();
    softmax((0..=t).map(|s| scale * dot(&q[heads.query(t, h)], &k[heads.key(s, h)])).collect())
}

pub fn softmax(mut scores: Vec<f64>) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|score| *score = (*score - max).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
    scores
}
