"""File name extensions that a deployer cannot declare, because programs run files with these names.

Sources: the lists of Outlook (blocked attachments), Chromium (download_file_types), Windows (AssocIsDangerous) and the
OWASP File Upload Cheat Sheet; the default handlers of Apache, IIS, PHP, Tomcat and ColdFusion; and the types that the
desktops of Windows, macOS and Linux open by running, installing or mounting them.

Some extensions are left out on purpose, because another meaning is more common: certificates (``cer crt der``),
MATLAB's data (``mat``), mail (``eml msg``), drawings (``cdr``), subtitles (``smi``), LaTeX's classes (``cls``), and
source code that only its own tools run, such as ``c dart go java jl jsx r sql ts``.
"""

from __future__ import annotations

import re

_REASONS = {
    "browsers show such files as pages, or XML as one, and run the scripts in them": """
        htm html shtm shtml sht stm ssi xhtm xhtml xht mht mhtml mhtm maff webarchive hta htc htt htx hxs
        svg svgz xml xsl xslt rdf rss atom mathml mml vml wml xul xbl xaml xbap swf spl dcr appcache
        dochtml docmhtml dothtml xlshtml xlsmhtml xlthtml ppthtml pptmhtml pothtml
        """,
    "web servers run such files": """
        asp aspx aspq asa asax ascx ashx asmx axd cshtml vbhtml razor master svc rem soap config webinfo idc ida idq
        htr htw printer cfm cfml cfc dbm jsp jspx jspf jspa jsw jsv jtml jhtml wss do
        php inc module hphp pgif ctp phpt cgi fcgi plx erb rhtml gsp lasso yaws htaccess htpasswd
        """,
    "such files are scripts, which a double click or their interpreter runs": """
        js mjs cjs jse jsm vb vbe vbs vbp vbscript bas ws wsf wsh wsc sct shs shb
        ps1 ps2 psm1 psd1 psdm1 ps1xml ps2xml psc1 psc2 pssc psrc cdxml msh msh1 msh2 mshxml msh1xml msh2xml
        bat cmd btm ahk a3x au3 sh bash zsh csh ksh tcsh fish nsh
        py pyc pyd pyo pyw pyx pyz pyzw py3 pl pm pl6 rb rbw lua tcl nse
        command tool terminal scpt scptd applescript osa osas osax jxa action workflow wflow definition caction
        """,
    "such files are programs, or install or extend one": """
        com exe dll scr pif cpl sys ocx drv acm ax vxd mui msi msp mst msu msix msixbundle appx appxbundle appinstaller
        cab ppkg manifest application fxp osx prg app efi gadget xap xip air class jar war ear jnlp jad
        apk apks apkm xapk aab ipa dex elf so ko o out run dylib kext mpkg pkg prefpane saver
        plugin component qlgenerator mdimporter deb rpm snap flatpak flatpakref flatpakrepo appimage pup pet ebuild
        wasm crx xpi oex nex safariextz vsix oxt vsto vst3 jsxbin mxp zxp dvb lsp fas vlx arx
        """,
    "desktops follow such files to a program, a share or a setting": """
        lnk url desktop webloc inetloc fileloc ftploc afploc mailloc website search search-ms searchconnector-ms
        library-ms settingcontent-ms appref-ms appcontent-ms mcf its xnk grp pcd scf inf reg rgs rdp rdg ins isp
        job mof msc mmc theme themepack deskthemepack diagcab diagcfg diagpkg printerexport webpnp xrm-ms wsb
        mobileconfig configprofile networkconnect internetconnect internetsettings
        chm hlp hpj cnt osd ops prf bgi plg vsmacros asx
        """,
    "Office opens such files, and they can hold macros or fetch commands": """
        doc dot docb docm dotm wbk wiz wll xls xlt xlm xlw xla xlb xlc xll xlsm xltm xlam xlsb
        ppt pot pps ppa ppam pptm potm ppsm sldm pub vsd vss vst vsw vsdm vssm vstm mpp mpt
        slk iqy oqy rqy dqy odc dsn udl dif one onepkg
        ade adn adp accda accdb accdc accde accdr accdt accdu accdw mad maf mag mam maq mar mas mau mav maw
        mda mdb mde mdn mdt mdw mdz odb
        """,
    "desktops mount such files, and run the programs inside without a warning": """
        iso img vhd vhdx vhdset udf cue ccd nrg daa isz wim swm esd dmg dmgpart ndif udif toast dvdr
        sparseimage sparsebundle dc42 diskcopy42 imgpart dsk
        """,
}
_REASON_BY_EXTENSION = {extension: reason for reason, group in _REASONS.items() for extension in group.split()}
# Every extension of PHP, of all versions: php, php9, phps, pht, phtml, phar.
_PHP = re.compile(r"ph(?:p|t|ar).*")


def reason(extension: str) -> str | None:
    """Return the clause that says why files with this extension are dangerous; ``None`` if they are not.

    :param extension: in lower case, without the dot.
    """
    return _REASON_BY_EXTENSION.get("php" if _PHP.fullmatch(extension) else extension)
