"""``python -m xdr`` is the ``xdr`` command."""

from xdr.cli import main

if __name__ == "__main__":
    main(prog_name="xdr")
