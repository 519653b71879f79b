// The cross-entropy loss of each token and its gradient: loss[t] = log2(Σ_v 2^z[t, v]) − z[t, label] and
// dlogits[t, v] = softmax(z[t])[v] − (v = label), where v is an entry of the vocabulary, and (v = label) is 1 if v is
// the token's label, and 0 if not. Each dispatch computes one shard of the vocabulary. One workgroup computes 4,096
// elements of dlogits for one token; each invocation computes four at a time.

struct Params {
    first_group: u32,
    tokens: u32,
    vocab: u32,
    vocab_offset: u32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> z: array<i32>; // [tokens, vocab] Q20
@group(0) @binding(2) var<storage, read> maximum: array<i32>; // [tokens]
@group(0) @binding(3) var<storage, read> sum: array<u32>; // [tokens] u64, in Q30
@group(0) @binding(4) var<storage, read> labels: array<u32>; // [tokens]; IGNORE for a token without loss and gradient
@group(0) @binding(5) var<storage, read> row_scales: array<u32>; // [vocab] u16, in units of 2^-16
@group(0) @binding(6) var<storage, read> tables: array<u32>; // [257] exponentials Q30, then [257] logarithms Q24
@group(0) @binding(7) var<storage, read> dither: array<u32>; // index of the first token, 0, keys of the streams
// [tokens, 3 · row_words(vocab) + 2] words: for each token, dlogits (Q22) as three int8 planes of row_words(vocab)
// words each (all high bytes, then all middle bytes, then all low bytes), then the loss (i64, Q20)
@group(0) @binding(8) var<storage, read_write> out: array<u32>;

const IGNORE = 0xffffffffu;

// The inputs that are the same for all elements of a token's dlogits (the gradient with respect to its logits).
struct Token {
    start: u32, // index in z of the token's first score
    label: u32, // the token's label, counted from the first entry of the shard
    largest: u32, // largest score of the token, over the whole vocabulary
    normalizer: Normalizer,
}

// Returns dlogits[v] (the gradient with respect to logit v) times the scale of row v of the embedding, in Q22 and
// rounded with the dither `bits`. Returns 0 in the padding (v ≥ vocab).
fn gradient(token: Token, v: u32, bits: u32) -> i32 {
    if v >= params.vocab {
        return 0i;
    }
    let exponential = exponential_of(token.largest - bitcast<u32>(z[token.start + v]));
    let hot = select(0u, 0x40000000u, v == token.label);
    let difference = bitcast<i32>(probability_of(token.normalizer, exponential) - hot);
    return bitcast<i32>(round_dither_64(multiply_64(extend_64(difference), row_scales[v]), 24u, bits).x);
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = group.y + params.first_group;
    let words = row_words(params.vocab);
    let at = row * (words * 3u + 2u);
    let ignored = labels[row] == IGNORE;
    let total = vec2(sum[row << 1u], sum[(row << 1u) + 1u]);
    let label = labels[row] - params.vocab_offset;
    let start = row * params.vocab;
    let token = Token(start, label, bitcast<u32>(maximum[row]), normalizer_new(total));
    let key = vec2(dither[2u + (params.stream << 1u)], dither[3u + (params.stream << 1u)]);

    for (var i = 0u; i < 4u; i++) {
        let word = (group.x << 10u) + (i << 8u) + local.x;
        if word >= words {
            break;
        }
        var values = vec4(0i);
        if !ignored {
            let v = word << 2u;
            let dithers = dither_word(key, dither[0] + row, (params.vocab_offset >> 2u) + word);
            values = vec4(
                gradient(token, v, dithers.x),
                gradient(token, v + 1u, dithers.y),
                gradient(token, v + 2u, dithers.z),
                gradient(token, v + 3u, dithers.w),
            );
        }
        let rest = (values + 128i) >> vec4(8u);
        out[at + word] = wide_high(rest);
        out[at + words + word] = wide_low(rest);
        out[at + (words << 1u) + word] = wide_low(values);
    }

    if group.x == 0u && local.x == 0u {
        var loss = vec2(0u, 0u);
        if !ignored && label < params.vocab {
            let index = logarithm_index(logarithm_fraction(total));
            let logarithm = logarithm_between(tables[index], tables[index + 1u], total);
            let below = subtract_64(extend_64(maximum[row]), extend_64(z[start + label]));
            loss = add_64(below, extend_64(logarithm));
        }
        out[at + words * 3u] = loss.x;
        out[at + words * 3u + 1u] = loss.y;
    }
}
