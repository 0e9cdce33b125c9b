/*
 * Proves that the fields of a head are read as RFC 9110 section 5 and RFC 9112 section 5 say, that Host is what
 * it may be (RFC 9110 section 7.2), and where a head is too large (RFC 6585 section 5).
 */
#include <string.h>

#include "kit_wire.h"

#define FIELDS(fields) "GET /healthz HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define HOSTS(fields)  "GET /healthz HTTP/1.1\r\n" fields "\r\n"

static void fields_are_names_colons_and_values(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_GOOD("9112-5 no space behind the colon", HOSTS("Host:h\r\nX:y\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9112-5 spaces and tabs around a value", FIELDS("X:\t  y z \t\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9112-5 an empty value", FIELDS("X:\r\nY: \t \r\n"), "200", NULL),
        KIT_WIRE_GOOD("9110-5.5 colons in a value", FIELDS("X: a:b::c\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9110-5.5 bytes above 127 in a value", FIELDS("X: \xc3\xa4\xff\x80\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9110-5.5 a tab in a value", FIELDS("X: a\tb\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9110-5.6.4 quotes that do not end", FIELDS("X: \"a\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9110-5.1 all marks of a name", FIELDS("!#$%&'*+-.^_`|~9: y\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9110-5.3 a field twice", FIELDS("X: 1\r\nX: 2\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9110-5.1 capitals", HOSTS("HOST: h\r\ncOnNeCtIoN: KEEP-ALIVE\r\n"), "200", NULL),
        KIT_WIRE_BAD("9112-5.1 a space before the colon", FIELDS("X : y\r\n"), "400", "name"),
        KIT_WIRE_BAD("9112-5.1 a tab before the colon", FIELDS("X\t: y\r\n"), "400", "name"),
        KIT_WIRE_BAD("9112-5.1 a space before the colon of Host", HOSTS("Host : h\r\n"), "400", "name"),
        KIT_WIRE_BAD("9112-5.2 folded by a space", FIELDS("X: y\r\n z\r\n"), "400", NULL),
        KIT_WIRE_BAD("9112-5.2 folded by a tab", FIELDS("X: y\r\n\tz\r\n"), "400", NULL),
        KIT_WIRE_BAD("9112-5.2 folded to nothing", FIELDS("X: y\r\n \r\n"), "400", NULL),
        KIT_WIRE_BAD("9112-5.2 Host folded", HOSTS("Host:\r\n h\r\n"), "400", NULL),
        KIT_WIRE_BAD("9112-5.2 a field that looks folded", FIELDS("X: y\r\n Content-Length: 5\r\n"), "400",
                     NULL),
        KIT_WIRE_BAD("9110-5.1 an empty name", FIELDS(": y\r\n"), "400", "name"),
        KIT_WIRE_BAD("9110-5.1 a space in the name", FIELDS("X Y: z\r\n"), "400", "name"),
        KIT_WIRE_BAD("9110-5.1 NUL in the name", FIELDS("X\0Y: z\r\n"), "400", "name"),
        KIT_WIRE_BAD("9110-5.1 bytes above 127 in the name", FIELDS("X\xc3\xa4: y\r\n"), "400", "name"),
        KIT_WIRE_BAD("9112-5 no colon", FIELDS("X\r\n"), "400", "name"),
        KIT_WIRE_BAD("9112-5 no colon in the last line", FIELDS("X: y\r\nZ\r\n"), "400", "name"),
        KIT_WIRE_BAD("9112-5 a second request line", HOSTS("GET /healthz HTTP/1.1\r\nHost: h\r\n"), "400",
                     "name"),
        KIT_WIRE_BAD("9110-5.5 NUL in a value", FIELDS("X: y\0z\r\n"), "400", "control"),
        KIT_WIRE_BAD("9110-5.5 NUL for a value", FIELDS("X: \0\r\n"), "400", "control"),
        KIT_WIRE_BAD("9110-5.5 CR in a value", FIELDS("X: y\rz\r\n"), "400", "control"),
        KIT_WIRE_BAD("9110-5.5 CR hides a field", FIELDS("X: y\rZ: w\r\n"), "400", "control"),
        KIT_WIRE_BAD("9110-5.5 CR before the break", FIELDS("X: y\r\r\n"), "400", "control"),
        /* One of them each, or who checks and who acts may take different ones. */
        KIT_WIRE_BAD("9110-5.3 Authorization twice", FIELDS("Authorization: a\r\nAuthorization: b\r\n"),
                     "400", "repeated"),
        KIT_WIRE_BAD("9110-5.3 Origin twice", FIELDS("Origin: null\r\norigin: null\r\n"), "400", "repeated"),
        KIT_WIRE_BAD("9110-8.3 Content-Type twice",
                     FIELDS("Content-Type: text/plain\r\nContent-Type: text/plain\r\n"), "400", "repeated"),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

/* RFC 9110 sections 5.5 and 5.6.2: every byte that may not stand in a name, and every control character. */
static void bytes_out_of_place_are_refused(void **state)
{
    enum { HEAD = sizeof "GET /healthz HTTP/1.1\r\nHost: h\r\nX" - 1 };
    static const char head[] = FIELDS("X.: a.b\r\n") KIT_WIRE_BEHIND;
    static const char delimiters[] = "\"(),/;<=>?@[\\]{} \t";
    struct kit *kit = *state;
    struct kit_wire_row rows[2 * 256];
    size_t count = 0;
    for (int byte = 0; byte < 256; byte++) {
        bool control = byte < 0x20 || byte == 0x7f;
        bool in_name = control || byte > 0x7f || strchr(delimiters, byte) != NULL;
        for (int place = 0; place < 2; place++) {
            if (place == 0 ? !in_name : !control || byte == '\t' || byte == '\n')
                continue;
            char *bytes = kit_allocate(kit, sizeof head);
            memcpy(bytes, head, sizeof head);
            bytes[place == 0 ? HEAD : HEAD + 4] = (char)byte;
            const char *name =
                kit_format(kit, "9110-5 byte %02x in a %s", (unsigned)byte, place == 0 ? "name" : "value");
            rows[count++] =
                (struct kit_wire_row){name, bytes, sizeof head - 1, "400", KIT_CLOSED, NULL, NULL};
        }
    }
    assert_int_equal(count, 33 + 128 + 17 + 31);
    kit_wire_play_table(kit, rows, count);
}

static void host_is_there_once_and_valid(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_BAD("9112-3.2 none", HOSTS("X: y\r\n"), "400", "Host"),
        KIT_WIRE_BAD("9112-3.2 no fields", HOSTS(""), "400", "Host"),
        KIT_WIRE_BAD("9112-3.2 two that differ", HOSTS("Host: a\r\nHost: b\r\n"), "400", "Host"),
        KIT_WIRE_BAD("9112-3.2 two that agree", HOSTS("Host: h\r\nhost: h\r\n"), "400", "Host"),
        KIT_WIRE_BAD("9112-3.2 two, apart", HOSTS("Host: h\r\nX: y\r\nHost: b\r\n"), "400", "Host"),
        KIT_WIRE_BAD("9112-3.2 two, one of them empty", HOSTS("Host:\r\nHost: h\r\n"), "400", "Host"),
        KIT_WIRE_BAD("9112-3.2 two in HTTP/1.0", "GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400",
                     "Host"),
        KIT_WIRE_BAD("9112-3.2 invalid in HTTP/1.0", "GET /healthz HTTP/1.0\r\nHost: a b\r\n\r\n", "400",
                     "Host"),
        KIT_WIRE_BAD("9112-3.2 NUL in it", HOSTS("Host: a\0b\r\n"), "400", NULL),
        KIT_WIRE_ROW("9112-3.2 none in HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", "200", KIT_CLOSED, NULL,
                     NULL),
    };
    static const char *const good[] = {
        "h",           "h:80",         "h:",
        "example.org", "EXAMPLE.org.", "127.0.0.1:3031",
        "[::1]",       "[::1]:3031",   "[2001:DB8::ffff:1.2.3.4]:1",
        "a-b_c~d.e",   "h%C3%A4",      "h:0",
        "h:65535",     "h:00080",      "",
    };
    static const char *const bad[] = {
        "a b",
        "h:80:80",
        "h:8a",
        "h:-1",
        "h:+80",
        "h: 80",
        "h :80",
        "h:65536",
        "h:99999999999999999999",
        "::1",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1]:80:80",
        "[::g]",
        "[]",
        "[h]",
        "[::1]]",
        "[[::1]]",
        "[fe80::1%25eth0]",
        "[v1.x]",
        "u@h",
        "u:p@h:80",
        "@h",
        "http://h",
        "h/",
        "h/healthz",
        "h?x",
        "h#x",
        "h\\x",
        "a,b",
        "a, b",
        "h%",
        "h%4",
        "h%zz",
        "h\xc3\xa4",
        "\"h\"",
        "<h>",
        "{h}",
        "h|x",
        "h^",
        "h`",
        ":80",
        "a\tb",
    };
    struct kit *kit = *state;
    struct kit_wire *wire = kit_wire_start(kit, NULL);
    kit_wire_play_all(wire, rows, KIT_COUNT(rows));
    struct kit_wire_row hosts[KIT_COUNT(good) + KIT_COUNT(bad)];
    for (size_t i = 0; i < KIT_COUNT(hosts); i++) {
        bool is_good = i < KIT_COUNT(good);
        const char *host = is_good ? good[i] : bad[i - KIT_COUNT(good)];
        hosts[i] = (struct kit_wire_row){
            kit_format(kit, "9110-7.2 \"%s\"", host),
            kit_format(kit, HOSTS("Host: %s\r\n") "%s", host, is_good ? "" : KIT_WIRE_BEHIND),
            0,
            is_good ? "200" : "400",
            is_good ? KIT_OPEN : KIT_CLOSED,
            NULL,
            is_good ? NULL : "Host"};
    }
    kit_wire_play_all(wire, hosts, KIT_COUNT(hosts));
}

static void large_heads_are_refused(void **state)
{
    struct kit *kit = *state;
    const char *large = kit_repeat(kit, "a", 200000), *many = kit_repeat(kit, "X-A: b\r\n", 20000);
    const char *hundred = kit_repeat(kit, "X: y\r\n", 99); /* and Host */
    const struct kit_wire_row rows[] = {
        {"6585-5 100 fields", kit_format(kit, FIELDS("%s"), hundred), 0, "200", KIT_OPEN, NULL, NULL},
        {"6585-5 8,000 bytes of cookies",
         kit_format(kit, FIELDS("Cookie: %s\r\n"), kit_repeat(kit, "c", 8000)), 0, "200", KIT_OPEN, NULL,
         NULL},
        {"6585-5 101 fields", kit_format(kit, FIELDS("%sX: y\r\n") KIT_WIRE_BEHIND, hundred), 0, "431",
         KIT_CLOSED, NULL, "headers"},
        {"6585-5 a value", kit_format(kit, FIELDS("X: %s\r\n") KIT_WIRE_BEHIND, large), 0, "431", KIT_CLOSED,
         NULL, "head"},
        {"6585-5 a name", kit_format(kit, FIELDS("%s: x\r\n") KIT_WIRE_BEHIND, large), 0, "431", KIT_CLOSED,
         NULL, "head"},
        {"6585-5 many", kit_format(kit, FIELDS("%s") KIT_WIRE_BEHIND, many), 0, "431", KIT_CLOSED, NULL,
         "head"},
        {"6585-5 a field without end", kit_format(kit, HOSTS("Host: h\r\nX: %s"), large), 0, "431",
         KIT_CLOSED, NULL, "head"},
        {"6585-5 a head without end", kit_format(kit, HOSTS("Host: h\r\n%s"), many), 0, "431", KIT_CLOSED,
         NULL, "head"},
        {"6585-5 of HEAD", kit_format(kit, "HEAD /healthz HTTP/1.1\r\nHost: h\r\nX: %s\r\n\r\n", large), 0,
         "H431", KIT_CLOSED, NULL, NULL},
    };
    kit_wire_play_table(kit, rows, KIT_COUNT(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(fields_are_names_colons_and_values),
        kit_test(bytes_out_of_place_are_refused),
        kit_test(host_is_there_once_and_valid),
        kit_test(large_heads_are_refused),
    };
    return kit_run_tests(tests);
}
