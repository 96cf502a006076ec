"""Extensions that cannot be declared, each with its reason."""

from __future__ import annotations

import pytest

from handler.inspection import filetypes
from handler.inspection.formats import runnable
from handler.settings import Settings, SettingsError

from ..support.cases import failures

BY_REASON = {
    "browsers show such files as pages": "html xhtml svgz mht stm shtm ssi xaml webarchive swf",
    "web servers run such files": "php php3 php9 php17 phps pht phtml phtml5 phar phpt hphp pgif asp aspx cshtml "
    "vbhtml master svc rem soap jsp jhtml jsw jsv wss do cfm erb cgi inc config",
    "such files are scripts": "js mjs vbs ps1 cdxml sh bat py pyc pyd pyo pyw pyz pl action workflow terminal scptd "
    "applescript ahk nse",
    "such files are programs": "exe dll msi msix appinstaller application manifest gadget cpl jar apk xapk aab ipa "
    "kext osx appimage flatpakref snap deb crx xpi vsix oxt",
    "desktops follow such files": "lnk url desktop webloc inetloc fileloc website search-ms library-ms appref-ms "
    "settingcontent-ms msc job theme themepack diagcab printerexport mobileconfig rdp reg inf ins isp chm",
    "Office opens such files": "doc dot docb wbk docm xls xlt xla xlw xll xlsb ppt pot pps ppa ppam slk iqy oqy rqy "
    "dqy udl one pub mdb mde accdb accde ade adp",
    "desktops mount such files": "iso img vhd vhdx udf cue nrg daa wim dmg",
}


@pytest.mark.parametrize("reason", BY_REASON)
def test_runnable_extension_is_refused_with_its_reason(reason: str) -> None:
    def check(extension: str) -> None:
        with pytest.raises(ValueError, match=f"^'{extension}' is not accepted as an extension: {reason}.*[.]$"):
            filetypes.declared(extension, "application/octet-stream")

    assert not failures(check, ((extension,) for extension in BY_REASON[reason].split()))


def test_settings_give_the_reason() -> None:
    with pytest.raises(SettingsError, match="'doc' is not accepted as an extension: Office opens such files"):
        Settings.from_environ({"ALLOWED_EXTENSIONS": "pdf doc=application/msword"})


HARMLESS = """
    cer crt mat eml msg cdr smi cls c r jl jsx dart ts pyi go sql css tex stl ico epub rtf ics log bin psd dwg 7z rar
    tar photo phone dotx xltx potx ppsx odg ott ttf parquet ipynb pem p12 vcf kml shp xps mid flac
    """


@pytest.mark.parametrize("extension", HARMLESS.split())
def test_harmless_extension_can_be_declared(extension: str) -> None:
    assert filetypes.declared(extension, "application/octet-stream").extension == extension


def test_no_known_extension_is_runnable() -> None:
    assert not [extension for extension in filetypes.KNOWN if runnable.reason(extension)]
