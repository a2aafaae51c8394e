"""python -m kaiwa"""

from kaiwa.cli import main

if __name__ == "__main__":
    main()
