//! Tests that files and folders appear completely or not at all, even if writing fails.

use super::*;

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn disk_full(path: &Path) -> Error {
    Error::io(path, "write the file")(io::Error::from(io::ErrorKind::StorageFull))
}

#[test]
fn a_file_is_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bin");
    write_bytes(&path, b"one").unwrap();
    write_bytes(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(names_in(folder.path()), ["a.bin"]);
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    for path in [folder.path(), Path::new("/dev/null"), &link] {
        let refused = write_bytes(path, b"text").unwrap_err().to_string();
        assert!(refused.contains("a folder, a pipe or a device"), "{refused}");
    }
    assert_eq!(names_in(folder.path()), ["link"]);
}

#[test]
fn a_failed_write_keeps_the_older_file_and_leaves_no_temporary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bin");
    write_bytes(&path, b"old").unwrap();
    let result = write_file(&path, |output| {
        output.put(b"half of the new")?;
        Err(disk_full(&path))
    });
    let message = result.unwrap_err().to_string();
    assert!(message.contains("a.bin") && message.contains("free some space"), "{message}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names_in(folder.path()), ["a.bin"]);
}

#[test]
fn a_missing_parent_is_named_with_a_mend() {
    let folder = tempfile::tempdir().unwrap();
    let message = write_bytes(&folder.path().join("no/a.bin"), b"").unwrap_err().to_string();
    assert!(message.contains("a.bin") && message.contains("check the spelling"), "{message}");
}

#[test]
fn a_folder_is_replaced_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/checkpoint-1");
    let put = |name: &'static str| move |inside: &Path| write_bytes(&inside.join(name), b"x");
    write_dir(&path, put("old")).unwrap();
    assert_eq!(names_in(&path), ["old"]);
    write_dir(&path, |inside| {
        write_bytes(&inside.join("new"), b"x")?;
        Err(disk_full(inside))
    })
    .unwrap_err();
    assert_eq!(names_in(&path), ["old"]);
    write_dir(&path, put("new")).unwrap();
    assert_eq!(names_in(&path), ["new"]);
    assert_eq!(names_in(path.parent().unwrap()), ["checkpoint-1"]);
    assert!(matches!(write_new_dir(&path, put("other")), Err(Error::WrongKind { .. })));
    assert_eq!(names_in(&path), ["new"]);
}

#[test]
fn recovery_removes_the_abandoned_and_spares_the_living() {
    let folder = tempfile::tempdir().unwrap();
    let abandoned = folder.path().join(".aludel-tmp-1-0-model.safetensors");
    fs::write(&abandoned, "half").unwrap();
    let abandoned_folder = folder.path().join(".aludel-tmp-1-0-checkpoint-3");
    fs::create_dir(&abandoned_folder).unwrap();
    fs::write(folder.path().join(".aludel-tmp-notours"), "kept").unwrap();
    let living = Temporary::folder(folder.path(), OsStr::new("checkpoint-4")).unwrap();

    let mut cleared = recover(folder.path());
    cleared.sort();
    assert_eq!(cleared, [abandoned_folder, abandoned]);
    assert!(living.path.exists() && folder.path().join(".aludel-tmp-notours").exists());
}

#[test]
fn recovery_puts_back_a_folder_whose_replacement_never_came() {
    let folder = tempfile::tempdir().unwrap();
    let aside = folder.path().join(".aludel-old-1-0-checkpoint-7");
    fs::create_dir(&aside).unwrap();
    fs::write(aside.join("adapter"), "old").unwrap();
    assert_eq!(recover(folder.path()), [folder.path().join("checkpoint-7")]);
    assert_eq!(names_in(folder.path()), ["checkpoint-7"]);

    // With the replacement in place, the older folder is only removed.
    fs::create_dir(&aside).unwrap();
    recover(folder.path());
    assert_eq!(names_in(&folder.path().join("checkpoint-7")), ["adapter"]);
    assert_eq!(names_in(folder.path()), ["checkpoint-7"]);
}

#[cfg(unix)]
#[test]
fn the_permissions_of_the_older_file_are_kept() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bin");
    write_bytes(&path, b"old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    write_bytes(&path, b"new").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
