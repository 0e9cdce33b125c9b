/* The commands of the program. Each gets what follows its name on the command line and returns the exit
 * status: 0, 1 when it did less than was asked, 2 for a wrong option or a resource that can't be had. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

enum { EXIT_USAGE = 2 };

int command_serve(int argument_count, char **arguments);
int command_process(int argument_count, char **arguments);
int command_send(int argument_count, char **arguments);

#endif
