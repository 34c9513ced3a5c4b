/* readPiece(): what comes next in a file of the kernel's, such as a mountinfo, read on any thread. */
#ifndef USERNS_READ_PIECE_H
#define USERNS_READ_PIECE_H

#include <node_api.h>

napi_value read_piece(napi_env env, napi_callback_info info);

#endif
