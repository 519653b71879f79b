//! The output head, which shares its matrix with the embedding, and its cross-entropy loss: `loss = Σ_t −ln
//! softmax(n[t] · embeddingᵀ)[label[t]]`, where `n[t]` is the normalized residual of token t.

use super::{
    attention::softmax,
    linear::{times, times_transposed},
};

/// Returns the loss in nats, which is summed over the tokens that have a label, and the gradient of the loss with
/// respect to the logits.
pub fn head_forward(
    n: &[f64],              // [tokens, width]
    embedding: &[f64],      // [vocab, width]
    labels: &[Option<u32>], // [tokens]
    width: usize,
) -> (f64, Vec<f64>) // loss, dlogits [tokens, vocab]
{
    let logits = times_transposed(n, embedding, width);
    let (mut loss, mut dlogits) = (0.0, Vec::with_capacity(logits.len()));
    for (logits, label) in logits.chunks_exact(embedding.len() / width).zip(labels) {
        let Some(label) = label.map(|label| label as usize) else {
            dlogits.extend(logits.iter().map(|_| 0.0));
            continue;
        };
        let mut p = softmax(logits.to_vec());
        loss -= p[label].ln();
        p[label] -= 1.0;
        dlogits.extend(p);
    }
    (loss, dlogits)
}

pub fn head_backward(
    dlogits: &[f64],   // [tokens, vocab]
    embedding: &[f64], // [vocab, width]
    width: usize,
) -> Vec<f64> // dn [tokens, width]
{
    times(dlogits, embedding, embedding.len() / width)
}
