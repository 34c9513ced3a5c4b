import { ociTests } from "../support/oci-tests.ts";

ociTests("runc");
