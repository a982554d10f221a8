# Each line of a text as a string of C, so that a program can carry it.
s/[\\"]/\\&/g
s/.*/"&\\n",/
