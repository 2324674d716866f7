// The namespace of syscalls/abi is uapi, because the global name abi belongs to <cxxabi.h>; inside
// the project's own namespaces it is called abi.
#pragma once

namespace uapi {}

namespace base {
namespace abi = ::uapi;
}
namespace host {
namespace abi = ::uapi;
}
namespace platform {
namespace abi = ::uapi;
}
namespace gofer {
namespace abi = ::uapi;
}
namespace netgofer {
namespace abi = ::uapi;
}
namespace sentry {
namespace abi = ::uapi;
}
namespace syscalls {
namespace abi = ::uapi;
}
namespace runsc {
namespace abi = ::uapi;
}
