# The exit status of a server, or of one of its workers, that cannot serve as it is configured.
EXIT_STATUS = 3
