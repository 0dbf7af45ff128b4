//! Any bytes are a program: the first says how the heap is set up, the others what is done with it.
#![no_main]

use lacuna_testkit::{Program, Setup, run};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&setup, bytes)) = bytes.split_first() else { return };
    let setup = match setup % 10 {
        0 => Setup::DEFAULT,
        1 | 2 => Setup::ZEAL,
        3 => Setup::TIGHT,
        4 => Setup { zeal: true, ..Setup::TIGHT },
        5 => Setup::INCREMENTS,
        6 => Setup { zeal: true, ..Setup::INCREMENTS },
        7 => Setup { increment_step: Some(0), ..Setup::TIGHT },
        8 => Setup { increment_step: Some(0), ..Setup::QUIET },
        _ => Setup { auto_drain: true, limit: None, ..Setup::TIGHT },
    };
    if let Err(difference) = run(&Program::decode(bytes), setup) {
        panic!("{difference}");
    }
});
