/* What has arrived at a server and is not read yet: asked of the kernel (sock_diag(7)), so that nothing has to be guessed
 * by waiting. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kit_http.h"
#include "kit_internal.h"

static int ask_for_sockets(int netlink)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 request;
    } message = {
        .header = {.nlmsg_len = sizeof message,
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .request = {.sdiag_family = AF_INET,
                    .sdiag_protocol = IPPROTO_TCP,
                    .idiag_states = ~(1U << TCP_TIME_WAIT)},
    };
    return send(netlink, &message, sizeof message, 0) == (ssize_t)sizeof message ? 0 : -1;
}

/* Adds up what the sockets of a port hold. Returns 1 at the end of the list, 0 before it, -1 on failure. */
static int add_unread(const struct nlmsghdr *header, size_t length, int port, uint64_t *unread)
{
    for (; NLMSG_OK(header, length); header = NLMSG_NEXT(header, length)) {
        const struct inet_diag_msg *socket = NLMSG_DATA(header);
        if (header->nlmsg_type == NLMSG_DONE)
            return 1;
        if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
            return -1;
        /* Of a socket that listens: connections that are not accepted. */
        if (ntohs(socket->id.idiag_sport) == port)
            *unread += socket->idiag_rqueue;
    }
    return 0;
}

bool kit_has_unread(struct kit_server *server)
{
    _Alignas(struct nlmsghdr) char answer[32768];
    uint64_t unread = 0;
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    int step = netlink < 0 ? -1 : ask_for_sockets(netlink);
    while (step == 0) {
        ssize_t length = recv(netlink, answer, sizeof answer, 0);
        step = length <= 0
                   ? -1
                   : add_unread((const struct nlmsghdr *)answer, (size_t)length, server->port, &unread);
    }
    int problem = errno;
    if (netlink >= 0)
        close(netlink);
    if (step < 0)
        kit_fail(server->kit, "sock_diag: %s", strerror(problem));
    return unread > 0;
}
