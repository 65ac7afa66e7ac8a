"""Where files are measured: this machine, a board over ssh, a phone over adb."""
