/* Parses /sys/devices/system/cpu/possible: "0-N", or no list that the code accepts. */
#include "fuzz.h"
#include "child/cpu-binding.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	int count = parse_possible(text);

	MUST(count == 0 || (count >= 2 && count <= CPU_SETSIZE));
	if (count > 0) {
		char expected[32];
		const char *digits = text + 2;

		/* strtol(3) accepts "0-007" too, which is the same number. */
		while (*digits == '0' || *digits == ' ' || *digits == '+' || (*digits >= '\t' && *digits <= '\r')) digits++;
		snprintf(expected, sizeof expected, "%d\n", count - 1);
		MUST(strncmp(text, "0-", 2) == 0 && strncmp(digits, expected, strlen(expected)) == 0);
	}
	free(text);
	return 0;
}
