//! Tests what a process leaves behind if it ends while it writes. A test program of its own, because `abandon` affects all writes of a process.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;

use aludel_formats::{Error, atomic};

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_being_written_is_removed_and_put_into_place_no_more() {
    let folder = tempfile::tempdir().unwrap();
    atomic::write_bytes(&folder.path().join("older"), b"older").unwrap();
    let (file, inside) = (folder.path().join("older"), folder.path().join("new"));
    let (begun, are_begun) = channel();
    let (ended, has_ended) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let (sender, end) = (begun.clone(), ended.clone());
    let of_file = thread::spawn(move || {
        let written = atomic::write_file(&file, |output| {
            output.put(b"newer")?;
            sender.send(()).unwrap();
            may_go_on.recv().unwrap();
            Ok::<(), Error>(())
        });
        end.send(()).unwrap();
        written.is_ok()
    });
    let (go_on_too, may_go_on_too) = channel::<()>();
    let of_folder = thread::spawn(move || {
        let written = atomic::write_dir(&inside, |inside| {
            fs::write(inside.join("half"), "half").unwrap();
            begun.send(()).unwrap();
            may_go_on_too.recv().unwrap();
            Ok::<(), Error>(())
        });
        ended.send(()).unwrap();
        written.is_ok()
    });
    (0..2).for_each(|_| are_begun.recv().unwrap());
    let scratch = atomic::Scratch::beside(&folder.path().join("table")).unwrap();
    fs::write(scratch.path().join("rows"), "rows").unwrap();
    assert_eq!(names_in(folder.path()).len(), 4);
    let abandoned = atomic::abandon();
    assert_eq!(names_in(folder.path()), ["older"]);
    go_on.send(()).unwrap();
    go_on_too.send(()).unwrap();
    // Neither gets as far as to its end while the process is ending.
    assert!(has_ended.try_recv().is_err());
    drop(abandoned);
    assert_eq!([of_file.join().unwrap(), of_folder.join().unwrap()], [false, false]);
    assert_eq!(fs::read(folder.path().join("older")).unwrap(), b"older");
    assert_eq!(names_in(folder.path()), ["older"]);
}
