// Adds the loss of a batch to the total: total += Σ_t loss[t], as i64 in Q20. The loss of a token is −log2 of the
// label's probability. There is only one workgroup; each of its 64 invocations adds up the loss of every 64th token.

struct Params {
    first_group: u32,
    tokens: u32,
    vocab: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [tokens, 3 · row_words(vocab) + 2] words: for each token, dlogits as three int8 planes of row_words(vocab) words
// each, then the loss (i64, Q20)
@group(0) @binding(1) var<storage, read> dlogits: array<u32>;
@group(0) @binding(2) var<storage, read_write> total: array<u32>; // [1] i64

var<workgroup> partial: array<vec2<u32>, 64>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(local_invocation_index) lane: u32) {
    let words = 3u * row_words(params.vocab) + 2u;
    var sum = vec2(0u, 0u);
    for (var t = lane; t < params.tokens; t += 64u) {
        let at = (t + 1u) * words - 2u;
        sum = add_64(sum, vec2(dlogits[at], dlogits[at + 1u]));
    }
    partial[lane] = sum;
    workgroupBarrier();
    if lane == 0u {
        var all = vec2(total[0], total[1]);
        for (var i = 0u; i < 64u; i++) {
            all = add_64(all, partial[i]);
        }
        total[0] = all.x;
        total[1] = all.y;
    }
}
