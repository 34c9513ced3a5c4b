/* Cuts a map into the arguments of newuidmap, and reads its output. */
#include "fuzz.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct fuzz_source source;

static ssize_t fuzz_read(int fd, void *buffer, size_t size)
{
	MUST(fd == 77);
	return fuzz_source_read(&source, buffer, size);
}

#define read fuzz_read
#include "userns/newidmap.c"

static void check_words(const uint8_t *data, size_t size)
{
	struct newidmap *run = calloc(1, sizeof *run);
	char *text = fuzz_text(data, size);
	char *copy = strdup(text);
	size_t expected = 0;
	char *rest = copy;

	if (run == NULL || copy == NULL) abort();
	for (const char *word; (word = strsep(&rest, " \n")) != NULL;) expected += word[0] != '\0';
	run->program = "/usr/bin/newuidmap";
	if (cut(run, text)) {
		size_t count = 0;

		while (run->arguments[count] != NULL) count++;
		MUST(count == expected + 2);
		for (size_t i = 2; i < count; i++) {
			MUST(run->arguments[i][0] != '\0' && strpbrk(run->arguments[i], " \n") == NULL);
		}
	} else MUST(expected > MOST_ARGUMENTS - 3);
	free(copy);
	free(text);
	free(run);
}

static void check_output(const uint8_t *data, size_t size)
{
	char *text = malloc(OUTPUT_BYTES);
	size_t length = 0;
	size_t given;

	if (text == NULL) abort();
	text[0] = '\0';
	source = fuzz_source_of(data, size);
	given = source.size;
	while (read_output(77, text, &length)) MUST(length < OUTPUT_BYTES && text[length] == '\0');
	MUST(source.size == 0); /* the output was read to its end */
	MUST(length == (given < OUTPUT_BYTES ? given : OUTPUT_BYTES - 1));
	MUST(length == 0 || memcmp(text, data + 3, length) == 0);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_words(data, size);
	check_output(data, size);
	return 0;
}
