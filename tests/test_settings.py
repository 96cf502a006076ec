from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from handler.inspection.filetypes import KNOWN
from handler.settings import VARIABLES, Settings, SettingsError
from handler.units import GIB, MIB

ON_LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "upload", "UPLOAD_BUCKET": "my-bucket"}


def test_defaults_suit_a_laptop() -> None:
    settings = Settings.from_environ({})
    assert settings.upload_folder == Path("uploads")
    assert settings.upload_bucket is None
    assert " ".join(settings.file_types) == "txt csv pdf docx png jpg jpeg gif webp heic"
    assert settings.max_file_bytes == 5 * GIB
    assert settings.max_image_pixels == 200_000_000
    assert settings.max_content_length == 5 * GIB + MIB, "a file of the largest size fits with the form around it"


def test_empty_value_equals_unset() -> None:
    names = ("UPLOAD_FOLDER", "UPLOAD_BUCKET", "ALLOWED_EXTENSIONS", "MAX_CONTENT_LENGTH", "MAX_FILE_BYTES")
    assert Settings.from_environ(dict.fromkeys(names, " ")) == Settings.from_environ({})


def test_on_lambda_a_request_may_carry_4_mib() -> None:
    assert Settings.from_environ(ON_LAMBDA).max_content_length == 4 * MIB


def test_request_limit_equals_file_limit_offline() -> None:
    assert Settings.from_environ({"MAX_FILE_BYTES": "1000"}).max_content_length == 1000 + MIB


def test_bucket_overrides_a_folder() -> None:
    settings = Settings.from_environ({"UPLOAD_BUCKET": "my-bucket", "UPLOAD_FOLDER": "somewhere"})
    assert (settings.upload_bucket, settings.upload_folder) == ("my-bucket", None)


@pytest.mark.parametrize("written", ["png,jpg", "png jpg", ".PNG, .JPG", "png\njpg", "png,,jpg,"])
def test_extensions_can_be_written_in_several_ways(written: str) -> None:
    assert list(Settings.from_environ({"ALLOWED_EXTENSIONS": written}).file_types) == ["png", "jpg"]


@pytest.mark.parametrize("written", ["+docx +mp4", "+docx,+mp4", " +.MP4 ", "+mp4, +mp4"])
def test_extensions_with_a_plus_sign_are_added_to_the_default(written: str) -> None:
    default = list(Settings.from_environ({}).file_types)
    assert list(Settings.from_environ({"ALLOWED_EXTENSIONS": written}).file_types) == [*default, "mp4"]


def test_declared_extension_with_a_plus_sign_is_added_to_the_default() -> None:
    file_types = Settings.from_environ({"ALLOWED_EXTENSIONS": "+stl=model/stl"}).file_types
    assert file_types["stl"].media_type == "model/stl"
    assert file_types.keys() >= {"txt", "png", "heic", "docx"}


@pytest.mark.parametrize("written", ["png,jpg", "png jpg", ".PNG, .JPG", " png,jpg,png "])
def test_inline_extensions_can_be_written_in_several_ways(written: str) -> None:
    assert list(Settings.from_environ({"INLINE_EXTENSIONS": written}).inline_types) == ["png", "jpg"]


def test_only_images_sound_video_and_pdf_can_be_inline() -> None:
    for extension, file_type in KNOWN.items():
        environ = {"INLINE_EXTENSIONS": extension}
        if file_type.media_type.startswith(("image/", "audio/", "video/")) or extension == "pdf":
            assert Settings.from_environ(environ).inline_types == {extension: file_type}
        else:
            with pytest.raises(SettingsError, match="INLINE_EXTENSIONS"):
                Settings.from_environ(environ)


def test_declared_extension_cannot_be_inline() -> None:
    environ = {"ALLOWED_EXTENSIONS": "svgx=image/x-own", "INLINE_EXTENSIONS": "svgx"}
    with pytest.raises(SettingsError, match="INLINE_EXTENSIONS"):
        Settings.from_environ(environ)


@pytest.mark.parametrize(("written", "days"), [("", None), (" ", None), ("1", 1), (" 30 ", 30), ("365", 365)])
def test_keep_days_are_read(written: str, days: int | None) -> None:
    assert Settings.from_environ({"KEEP_DAYS": written}).keep_days == days


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1000", 1000),
        ("1000B", 1000),
        ("1MB", 10**6),
        ("1MiB", 2**20),
        ("500kB", 500_000),
        ("500KB", 500_000),
        ("2GiB", 2 * 2**30),
        ("2 gib", 2 * 2**30),
        ("1TB", 10**12),
        ("5TiB", 5 * 2**40),
        (" 7KiB ", 7 * 1024),
    ],
)
def test_size_with_a_unit_is_read(written: str, size: int) -> None:
    assert Settings.from_environ({"MAX_FILE_BYTES": written}).max_file_bytes == size
    if size <= GIB:
        assert Settings.from_environ({"MAX_CONTENT_LENGTH": written}).max_content_length == size


def test_size_with_a_unit_has_the_limit_of_lambda() -> None:
    assert Settings.from_environ(ON_LAMBDA | {"MAX_CONTENT_LENGTH": "4MiB"}).max_content_length == 4 * MIB
    with pytest.raises(SettingsError, match="to 4194304"):
        Settings.from_environ(ON_LAMBDA | {"MAX_CONTENT_LENGTH": "5MB"})


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("ALOWED_EXTENSIONS", "ALLOWED_EXTENSIONS"),
        ("ALLOWED_EXTENSION", "ALLOWED_EXTENSIONS"),
        ("UPLAOD_FOLDER", "UPLOAD_FOLDER"),
        ("UPLOAD_BUCKETS", "UPLOAD_BUCKET"),
        ("MAX_FILE_BYTE", "MAX_FILE_BYTES"),
        ("TOKEN_SECERT", "TOKEN_SECRET"),
        ("DOWNLOAD", "DOWNLOADS"),
        ("upload_folder", "UPLOAD_FOLDER"),
    ],
)
def test_misspelt_setting_is_warned_about(name: str, setting: str) -> None:
    (warning,) = Settings.misspelt({name: "a secret value", "PATH": "/usr/bin", setting: "1"})
    assert warning == f"{name} is not a setting, so it has no effect. Did you mean {setting}?"


def test_correct_settings_and_variables_of_other_programs_are_not_warned_about() -> None:
    others = """
        AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_FUNCTION_VERSION AWS_REGION CI CORS_ALLOWED_ORIGINS HOME LANG LC_ALL PATH
        PWD PYTHONPATH SHELL TERM TMPDIR USER XDG_DOWNLOAD_DIR ALLOWED_HOSTS SECRET_KEY GITHUB_TOKEN ACCESS_TOKEN
        UPLOAD_URL MAX_WORKERS FLASK_UPLOAD_FOLDER
    """
    assert Settings.misspelt(dict.fromkeys((*VARIABLES, *others.split()), "x")) == []


def test_every_setting_in_use_is_known() -> None:
    read: set[str] = set()

    class Spy(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            read.add(key)
            return default

    Settings.from_environ(Spy())
    assert {name for name in read if not name.startswith("AWS_")} == set(VARIABLES)


def test_unknown_extension_is_declared_with_its_media_type() -> None:
    stl = Settings.from_environ({"ALLOWED_EXTENSIONS": "stl=model/stl"}).file_types["stl"]
    assert (stl.extension, stl.media_type) == ("stl", "model/stl")


def test_sam_local_without_a_bucket_keeps_files_in_its_container() -> None:
    environ = {"AWS_LAMBDA_FUNCTION_NAME": "UploadFunction", "AWS_SAM_LOCAL": "true", "UPLOAD_BUCKET": "UploadBucket"}
    settings = Settings.from_environ(environ)
    assert (settings.upload_bucket, settings.upload_folder) == (None, Path("/tmp/uploads"))
    assert settings.max_content_length == 4 * MIB, "and has the limits of Lambda"
    assert not settings.takes_direct_uploads


def test_sam_local_uses_a_configured_bucket() -> None:
    environ = {"AWS_LAMBDA_FUNCTION_NAME": "UploadFunction", "AWS_SAM_LOCAL": "true", "UPLOAD_BUCKET": "my-bucket"}
    assert Settings.from_environ(environ).upload_bucket == "my-bucket"
    assert Settings.from_environ(environ).takes_direct_uploads


@pytest.mark.parametrize(
    ("environ", "variable", "what_is_right"),
    [
        ({"ALLOWED_EXTENSIONS": "stl"}, "ALLOWED_EXTENSIONS", "stl=model/stl"),
        ({"ALLOWED_EXTENSIONS": "stl=3d"}, "ALLOWED_EXTENSIONS", "stl=model/stl"),
        ({"ALLOWED_EXTENSIONS": "png=image/jpeg"}, "ALLOWED_EXTENSIONS", "Leave out its media type"),
        ({"ALLOWED_EXTENSIONS": "../x"}, "ALLOWED_EXTENSIONS", "'pdf, jpg'"),
        ({"ALLOWED_EXTENSIONS": ","}, "ALLOWED_EXTENSIONS", "at least one"),
        ({"ALLOWED_EXTENSIONS": "+"}, "ALLOWED_EXTENSIONS", "'pdf, jpg'"),
        ({"ALLOWED_EXTENSIONS": "++docx"}, "ALLOWED_EXTENSIONS", "'pdf, jpg'"),
        ({"ALLOWED_EXTENSIONS": "+mp4 mov"}, "ALLOWED_EXTENSIONS", "'+' before each extension"),
        ({"ALLOWED_EXTENSIONS": "png +mp4"}, "ALLOWED_EXTENSIONS", "'+' before each extension"),
        ({"ALLOWED_EXTENSIONS": "+exe"}, "ALLOWED_EXTENSIONS", "not accepted as an extension"),
        ({"MAX_FILE_BYTES": "5XB"}, "MAX_FILE_BYTES", "a whole number of bytes"),
        ({"MAX_FILE_BYTES": "1.5GB"}, "MAX_FILE_BYTES", "a size like 500kB or 2MiB"),
        ({"MAX_FILE_BYTES": "5M"}, "MAX_FILE_BYTES", "a size like 500kB or 2MiB"),
        ({"MAX_FILE_BYTES": "0MB"}, "MAX_FILE_BYTES", "from 1"),
        ({"MAX_FILE_BYTES": "6TiB"}, "MAX_FILE_BYTES", "from 1 to 5497558138880"),
        ({"MAX_FILE_BYTES": "1 B B"}, "MAX_FILE_BYTES", "from 1"),
        ({"MAX_FILE_BYTES": "0"}, "MAX_FILE_BYTES", "from 1"),
        ({"MAX_FILE_BYTES": "-1"}, "MAX_FILE_BYTES", "from 1"),
        ({"MAX_FILE_BYTES": "1" * 5000}, "MAX_FILE_BYTES", "from 1"),
        ({"MAX_FILE_BYTES": "٣"}, "MAX_FILE_BYTES", "a whole number"),
        ({"MAX_IMAGE_PIXELS": "100MP"}, "MAX_IMAGE_PIXELS", "a whole number of pixels from 1"),
        ({"MAX_IMAGE_PIXELS": "0"}, "MAX_IMAGE_PIXELS", "from 1"),
        ({"ALLOWED_EXTENSIONS": "foo=text/html"}, "ALLOWED_EXTENSIONS", "run or render it"),
        ({"MAX_CONTENT_LENGTH": "1e6"}, "MAX_CONTENT_LENGTH", "a whole number of bytes"),
        (ON_LAMBDA | {"MAX_CONTENT_LENGTH": "4194305"}, "MAX_CONTENT_LENGTH", "to 4194304"),
        ({"KEEP_DAYS": "2"}, "KEEP_DAYS", "use one of 1, 7, 30, 90, 365"),
        ({"KEEP_DAYS": "07"}, "KEEP_DAYS", "use one of 1, 7, 30, 90, 365"),
        ({"KEEP_DAYS": "7d"}, "KEEP_DAYS", "use one of 1, 7, 30, 90, 365"),
        ({"INLINE_EXTENSIONS": "svg"}, "INLINE_EXTENSIONS", "'svg' is not one of pdf png jpg"),
        ({"INLINE_EXTENSIONS": "png txt"}, "INLINE_EXTENSIONS", "'txt' is not one of pdf png jpg"),
        ({"INLINE_EXTENSIONS": "docx"}, "INLINE_EXTENSIONS", "'docx' is not one of pdf png jpg"),
        ({"INLINE_EXTENSIONS": "*"}, "INLINE_EXTENSIONS", "'*' is not one of pdf png jpg"),
        ({"UPLOAD_BUCKET": "My_Bucket"}, "UPLOAD_BUCKET", "3 to 63"),
        ({"UPLOAD_BUCKET": "192.168.0.1"}, "UPLOAD_BUCKET", "3 to 63"),
        ({"UPLOAD_BUCKET": "a..b"}, "UPLOAD_BUCKET", "3 to 63"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "upload"}, "UPLOAD_BUCKET", "name a bucket"),
    ],
)
def test_invalid_value_is_rejected_with_its_name_and_a_valid_example(
    environ: dict[str, str], variable: str, what_is_right: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(environ)
    message = str(caught.value)
    assert message.startswith(variable)
    assert what_is_right in message
    assert repr(environ[variable].strip()) in message if variable in environ else "is not set" in message


# Access.

SECRET = "a secret of 32 bytes and some more"
OTHER_SECRET = "ein Geheimnis aus 32 Bytes: äöü äöü"


@pytest.mark.parametrize(
    ("environ", "access"),
    [
        ({}, "loopback"),
        ({"TOKEN_SECRET": SECRET}, "token"),
        ({"TOKEN_SECRET": SECRET, "ACCESS": "token"}, "token"),
        ({"TOKEN_SECRET": SECRET, "ACCESS": "public"}, "public"),
        ({"ACCESS": "public"}, "public"),
        ({"ACCESS": " Public "}, "public"),
        ({"UPLOAD_BUCKET": "my-bucket"}, "loopback"),
        (ON_LAMBDA, None),
        (ON_LAMBDA | {"ACCESS": "token"}, None),
        (ON_LAMBDA | {"ACCESS": "public"}, "public"),
        (ON_LAMBDA | {"TOKEN_SECRET": SECRET}, "token"),
        (ON_LAMBDA | {"TOKEN_SECRET": " ", "ACCESS": ""}, None),
        (ON_LAMBDA | {"AWS_SAM_LOCAL": "true"}, None),
    ],
)
def test_access_is_closed_by_default(environ: dict[str, str], access: str | None) -> None:
    assert Settings.from_environ(environ).access == access


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (SECRET, (SECRET,)),
        (f" {SECRET}\n", (SECRET,)),
        (f"{SECRET},{OTHER_SECRET}", (SECRET, OTHER_SECRET)),
        (f" {SECRET} , {OTHER_SECRET} ,", (SECRET, OTHER_SECRET)),
        ("x" * 32, ("x" * 32,)),
        ("ä" * 16, ("ä" * 16,)),
        ("", ()),
        (" , ", ()),
    ],
)
def test_secret_may_be_one_or_two(written: str, read: tuple[str, ...]) -> None:
    assert Settings.from_environ({"TOKEN_SECRET": written}).token_secrets == read


@pytest.mark.parametrize(
    "written", ["hunter2", "y" * 31, f"{SECRET},hunter2", f"hunter2,{SECRET}", f"{SECRET},{OTHER_SECRET},{SECRET}"]
)
@pytest.mark.parametrize("others", [{}, {"ACCESS": "public"}, ON_LAMBDA])
def test_invalid_secret_is_not_shown(written: str, others: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(others | {"TOKEN_SECRET": written})
    shown = f"{caught.value} {caught.value!r} {vars(caught.value)}"
    assert str(caught.value).startswith("TOKEN_SECRET is '(not shown)': ")
    assert "at least 32 bytes" in shown
    assert not [secret for secret in written.split(",") if secret in shown]


def test_valid_secret_is_not_shown() -> None:
    """A traceback or a debugger's log would show the secret."""
    assert SECRET not in repr(Settings.from_environ({"TOKEN_SECRET": SECRET}))


@pytest.mark.parametrize(
    ("written", "origins"),
    [
        ("", ()),
        ("*", ("*",)),
        ("https://example.com", ("https://example.com",)),
        ("https://Example.COM, http://localhost:5173", ("https://example.com", "http://localhost:5173")),
        ("http://[::1]:8000\nhttp://127.0.0.1", ("http://[::1]:8000", "http://127.0.0.1")),
    ],
)
def test_allowed_origins_are_read(written: str, origins: tuple[str, ...]) -> None:
    assert Settings.from_environ({"ALLOWED_ORIGINS": written}).allowed_origins == origins


@pytest.mark.parametrize(
    "written",
    [
        "example.com",
        "//example.com",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com?",
        "https://*.example.com",
        "https://user@example.com",
        "https://",
        "https://:443",
        "https://example.com:",
        "https://example.com:123456",
        "https://exämple.com",
        "ftp://example.com",
        "null",
        "**",
        "https://example.com; https://b.example",
        "https://example.com https://b.example/",
    ],
)
def test_invalid_origin_is_rejected(written: str) -> None:
    with pytest.raises(SettingsError, match=r"^ALLOWED_ORIGINS is .* is not an origin\. Write it like "):
        Settings.from_environ({"ALLOWED_ORIGINS": written})


@pytest.mark.parametrize("variable", ["DOWNLOADS", "ALLOW_EMPTY_FILES"])
def test_switch_is_on_or_off(variable: str) -> None:
    def read(environ: dict[str, str]) -> bool:
        settings = Settings.from_environ(environ)
        return settings.downloads if variable == "DOWNLOADS" else settings.allow_empty_files

    assert read({}) == read({variable: " "}) == (variable == "DOWNLOADS")
    assert (read({variable: "on"}), read({variable: " OFF "})) == (True, False)
    for wrong in ("true", "1", "yes", "no", "0", "false", "onn"):
        with pytest.raises(SettingsError, match=f"^{variable} is '{wrong}': use 'on' or 'off'"):
            read({variable: wrong})


@pytest.mark.parametrize("value", ["1", "200000000", "1000000000000"])
def test_image_pixels_are_read(value: str) -> None:
    assert Settings.from_environ({"MAX_IMAGE_PIXELS": value}).max_image_pixels == int(value)


@pytest.mark.parametrize("extension", ["svg", "html", "exe", "SVG"])
def test_undeclarable_type_is_named_first(extension: str) -> None:
    for written in (extension, f"pdf, .{extension}", f"{extension}=image/x"):
        with pytest.raises(SettingsError) as caught:
            Settings.from_environ({"ALLOWED_EXTENSIONS": written})
        assert f"{extension.lower()!r} is not accepted" in str(caught.value)
        assert "declare it" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("", ("file", "files")),
        ("photo,upload[image]  Datei,photo", ("file", "files", "photo", "upload[image]", "Datei")),
        ("*", ("file", "files", "*")),
        ("file", ("file", "files")),
        ("x" * 100, ("file", "files", "x" * 100)),
    ],
)
def test_file_fields_are_read(value: str, names: tuple[str, ...]) -> None:
    assert Settings.from_environ({"FILE_FIELDS": value}).file_fields == names


@pytest.mark.parametrize("value", ["x" * 101, "a\u200bb", "a\x00b"])
def test_invalid_file_field_is_rejected(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^FILE_FIELDS is .*: give names of at most 100 characters"):
        Settings.from_environ({"FILE_FIELDS": value})


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("", ()),
        ("album", ("album",)),
        (" album,description  tags[] album ", ("album", "description", "tags[]")),
        ("名前", ("名前",)),
        ("metadata", ("metadata",)),
    ],
)
def test_metadata_fields_are_read(value: str, names: tuple[str, ...]) -> None:
    assert Settings.from_environ({"METADATA_FIELDS": value}).metadata_fields == names
    assert Settings.from_environ({"METADATA_FIELDS": value, "FILE_FIELDS": "*"}).metadata_fields == names


@pytest.mark.parametrize("value", ["file", "files[]", "album file0", "token", "filename", "for", "*", "photo"])
def test_metadata_field_with_another_meaning_is_rejected(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^METADATA_FIELDS is .*has another meaning in a form"):
        Settings.from_environ({"METADATA_FIELDS": value, "FILE_FIELDS": "photo"})


@pytest.mark.parametrize("value", ["x" * 101, "a\u200bb"])
def test_invalid_metadata_field_is_rejected(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^METADATA_FIELDS is .*: give names of at most 100 characters"):
        Settings.from_environ({"METADATA_FIELDS": value})


def test_unknown_access_is_rejected() -> None:
    for wrong in ("open", "none", "loopback", "token,public", "true"):
        with pytest.raises(SettingsError, match=f"^ACCESS is '{wrong}': use 'token', or 'public'"):
            Settings.from_environ({"ACCESS": wrong, "TOKEN_SECRET": SECRET})
    with pytest.raises(SettingsError, match=r"^TOKEN_SECRET is not set: ACCESS=token needs a secret"):
        Settings.from_environ({"ACCESS": "token"})
    with pytest.raises(SettingsError, match=r"^MAX_IMAGE_PIXELS is '1000000000001'"):
        Settings.from_environ({"MAX_IMAGE_PIXELS": "1000000000001"})


WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_WEBHOOK_SECRET = "whsec_bmV3IHNlY3JldCBmb3IgdGhlIHdlYmhvb2tzIG9mIHRlc3Rz"
WEBHOOK = {"WEBHOOK_URL": "https://example.com/hook?key=hunter2", "WEBHOOK_SECRET": WEBHOOK_SECRET}


def test_there_is_no_webhook_by_default() -> None:
    settings = Settings.from_environ({})
    assert (settings.webhook_url, settings.webhook_keys, settings.webhook_allow_private) == (None, (), False)
    assert settings.endpoint_url is None


@pytest.mark.parametrize("between", [",", " ", ", "])
def test_webhook_secret_may_be_two(between: str) -> None:
    secrets = {"WEBHOOK_SECRET": f"{WEBHOOK_SECRET}{between}{OTHER_WEBHOOK_SECRET}"}
    assert len(Settings.from_environ(WEBHOOK | secrets).webhook_keys) == 2


def test_webhook_needs_a_secret_and_the_error_says_how_to_make_one() -> None:
    with pytest.raises(SettingsError, match=r"WEBHOOK_SECRET is not set.*openssl rand -base64 32"):
        Settings.from_environ({"WEBHOOK_URL": "https://example.com/hook"})


@pytest.mark.parametrize(
    "written", ["hunter2", "whsec_hunter2", "whsec_", f"{WEBHOOK_SECRET},hunter2", f"{WEBHOOK_SECRET} " * 3]
)
def test_invalid_webhook_secret_is_never_shown(written: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(WEBHOOK | {"WEBHOOK_SECRET": written})
    shown = f"{caught.value} {caught.value!r} {vars(caught.value)}"
    assert str(caught.value).startswith("WEBHOOK_SECRET is '(not shown)': ")
    assert "hunter2" not in shown
    assert WEBHOOK_SECRET not in shown


@pytest.mark.parametrize(
    "written",
    [
        "example.com/hook",
        "ftp://example.com/hunter2",
        "https://user:hunter2@example.com/",
        "https://example.com/#hunter2",
        "https://example.com:hunter2/",
        "https://example.com:99999/hunter2",
        "https://example.com:0/hunter2",
        "https://[::1/hunter2",
        "https://?hunter2",
        "https://example.com/a b?hunter2",
        "https://exämple.com/hunter2",
        "https://example..com/hunter2",
        f"https://{'a' * 64}.com/hunter2",
        "https://example.com/hunter2\r\nX: y",
        f"https://example.com/hunter2{'x' * 2048}",
    ],
)
@pytest.mark.parametrize("variable", ["WEBHOOK_URL", "ENDPOINT_URL"])
def test_invalid_url_is_refused_and_never_shown(variable: str, written: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable} is '\\(not shown\\)'") as caught:
        Settings.from_environ({"WEBHOOK_SECRET": WEBHOOK_SECRET, variable: written})
    assert "hunter2" not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


def test_valid_webhook_is_not_shown_either() -> None:
    shown = repr(Settings.from_environ(WEBHOOK))
    assert "hunter2" not in shown
    assert WEBHOOK_SECRET not in shown
    assert repr(Settings.from_environ(WEBHOOK).webhook_keys[0]) not in shown


def test_endpoint_url_has_no_slash_at_its_end() -> None:
    settings = Settings.from_environ({"ENDPOINT_URL": "https://example.com/uploads/"})
    assert settings.endpoint_url == "https://example.com/uploads"
