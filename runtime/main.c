/* argv -> command; the rows are in cli/command.c. */
#include <stdio.h>

#include "cli/command.h"

int main(int argc, char **argv)
{
    int code = gw_cli(argc, argv);

    /* What could not be printed was not delivered: a full disk behind `> file` is a failure. */
    if (fflush(stdout) != 0 && code == GW_EXIT_FINE) {
        perror("moongate: stdout");
        return GW_EXIT_FAILED;
    }
    return code;
}
