// The workgroup of 128 invocations that computes a head: what they know together.
// All of them call these functions.

const HEAD_LANES = 128u;

var<workgroup> head_lanes: array<vec2<u32>, HEAD_LANES>;

// The largest value of any lane.
fn head_max(lane: u32, value: i32) -> i32 {
    workgroupBarrier();
    head_lanes[lane] = vec2(bitcast<u32>(value), 0u);
    workgroupBarrier();
    for (var half = HEAD_LANES >> 1u; half > 0u; half = half >> 1u) {
        if lane < half {
            let other = max(bitcast<i32>(head_lanes[lane].x), bitcast<i32>(head_lanes[lane + half].x));
            head_lanes[lane] = vec2(bitcast<u32>(other), 0u);
        }
        workgroupBarrier();
    }
    return bitcast<i32>(head_lanes[0].x);
}

// The sum of all lanes' values mod 2^64.
fn head_sum(lane: u32, value: vec2<u32>) -> vec2<u32> {
    workgroupBarrier();
    head_lanes[lane] = value;
    workgroupBarrier();
    for (var half = HEAD_LANES >> 1u; half > 0u; half = half >> 1u) {
        if lane < half {
            head_lanes[lane] = add_64(head_lanes[lane], head_lanes[lane + half]);
        }
        workgroupBarrier();
    }
    return head_lanes[0];
}

// The largest values, by component, of the 32 lanes of this lane's block.
fn block_max(lane: u32, value: vec2<u32>) -> vec2<u32> {
    workgroupBarrier();
    head_lanes[lane] = value;
    workgroupBarrier();
    let first = lane & 96u;
    var largest = head_lanes[first];
    for (var i = 1u; i < 32u; i++) {
        largest = max(largest, head_lanes[first + i]);
    }
    return largest;
}
