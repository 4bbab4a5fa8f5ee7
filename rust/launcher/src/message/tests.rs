//! Messages come back as they went; what is no message is refused.

use std::ffi::CString;

use proptest::prelude::*;

use super::*;

fn texts(least: usize) -> impl Strategy<Value = Vec<CString>> {
    let text = prop::collection::vec(1u8.., 0..40).prop_map(|bytes| CString::new(bytes).unwrap());
    prop::collection::vec(text, least..6)
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![
        any::<i32>().prop_map(Status::Code),
        (any::<i32>(), any::<bool>()).prop_map(|(signal, core)| Status::Signal { signal, core }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        (any::<u32>(), any::<u64>()).prop_map(|(pid, started)| Reply::Spawned { pid, started }),
        (prop::sample::select(&STAGES), any::<i32>())
            .prop_map(|(stage, errno)| { Reply::Refused { stage, errno } }),
        (status(), any::<[u64; 4]>()).prop_map(|(status, [cpu, peak, read, written])| {
            Reply::Exited { status, usage: Usage { cpu, peak, read, written } }
        }),
    ]
}

proptest! {
    #[test]
    fn specs_come_back(
        argv in texts(1), env in texts(0), cwd in texts(1), id: u64, data: Option<u64>,
        cpu: Option<u64>, extra: bool, cgroup: bool, cut: prop::sample::Index,
    ) {
        let spec = Spec {
            argv: argv.iter().map(|it| &**it).collect(),
            env: env.iter().map(|it| &**it).collect(),
            cwd: &cwd[0], data, cpu, extra, cgroup,
        };
        let request = Request::Spawn { id, spec };
        let bytes = request.encode();
        prop_assert_eq!(Request::decode(&bytes), Ok(request));
        prop_assert_eq!(Request::decode(&bytes[..cut.index(bytes.len())]), Err(Malformed));
    }

    #[test]
    fn other_requests_come_back(id: u64, signal: i32) {
        for request in [Request::Open, Request::SpawnLarge { id }, Request::Kill { id, signal }] {
            let mut bytes = request.encode();
            prop_assert_eq!(Request::decode(&bytes), Ok(request));
            bytes.push(0);
            prop_assert_eq!(Request::decode(&bytes), Err(Malformed));
        }
    }

    #[test]
    fn replies_come_back(reply in reply(), cut: prop::sample::Index) {
        let bytes = reply.encode();
        prop_assert_eq!(Reply::decode(&bytes), Ok(reply));
        prop_assert_eq!(Reply::decode(&bytes[..cut.index(bytes.len())]), Err(Malformed));
    }

    #[test]
    fn whatever_comes_decoding_ends(kind in 0u8..6, bytes: Vec<u8>) {
        let bytes = [vec![kind], bytes].concat();
        if let Ok(request) = Request::decode(&bytes) {
            prop_assert_eq!(request.encode(), bytes.clone());
        }
        if let Ok(reply) = Reply::decode(&bytes) {
            prop_assert_eq!(reply.encode(), bytes.clone());
        }
        if let Ok(spec) = Spec::decode(&bytes) {
            let mut again = Vec::new();
            spec.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}

#[test]
fn a_count_that_lies_is_refused() {
    let spec = Spec {
        argv: vec![c"true"],
        env: vec![],
        cwd: c"/",
        data: None,
        cpu: None,
        extra: false,
        cgroup: false,
    };
    let mut bytes = Vec::new();
    spec.encode(&mut bytes);
    bytes[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Spec::decode(&bytes), Err(Malformed));
    bytes[1..5].copy_from_slice(&0u32.to_le_bytes());
    assert_eq!(Spec::decode(&bytes), Err(Malformed));
}
