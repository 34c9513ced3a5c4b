#include "attach.h"
#include "detach.h"
#include "inside.h"

void mount_attach(const struct attach_request *request, struct outcome *out)
{
	struct attaching at = {.request = request, .take_off = mount_detach};

	if (request->mount_ns >= 0) inside_attach(request, out);
	else if (attach_steps(&at) < 0) outcome_fail(out, at.error, at.step);
}
