#include "sentry/fs/devpts/ldisc.h"

#include <gtest/gtest.h>

#include <string>

#include "sentry/kernel/signal.h"
#include "syscalls/abi/signal.h"

namespace sentry {
namespace {

struct Fixture {
  ByteQueue out;
  LineDiscipline ld{out};
  LineDiscipline::Effects fx;

  size_t Type(const std::string& s) {
    return ld.Receive(reinterpret_cast<const uint8_t*>(s.data()), s.size(), &fx);
  }
  std::string Read(size_t n = 4096) {
    if (!ld.InputAvailable(false)) return "<none>";
    std::string s(n, '\0');
    IoBuffer b = IoBuffer::Kernel(s.data(), n);
    bool fault;
    s.resize(ld.Read(b, &fault));
    return s;
  }
  std::string Out() {
    std::string s;
    while (!out.empty()) {
      s.append(reinterpret_cast<const char*>(out.front()), out.front_size());
      out.pop(out.front_size());
    }
    return s;
  }
  void Change(uint32_t clear_l, uint32_t set_l = 0) {
    abi::Termios2 t = ld.termios();
    t.lflag = (t.lflag & ~clear_l) | set_l;
    ld.SetTermios(t, &fx);
  }
};

TEST(LineDiscipline, CanonicalLineWithEcho) {
  Fixture f;
  f.Type("hel");
  EXPECT_EQ(f.Read(), "<none>");
  f.Type("lo\r");
  EXPECT_EQ(f.Out(), "hello\r\n");
  f.Type("two\n");
  EXPECT_EQ(f.Read(), "hello\n");
  EXPECT_EQ(f.Read(), "two\n");
  EXPECT_EQ(f.Read(), "<none>");
}

TEST(LineDiscipline, ShortReadsTakeALineInPieces) {
  Fixture f;
  f.Type("abcdef\n");
  EXPECT_EQ(f.Read(4), "abcd");
  EXPECT_EQ(f.Read(3), "ef\n");
  EXPECT_EQ(f.Read(), "<none>");
}

TEST(LineDiscipline, EndOfFile) {
  Fixture f;
  f.Type("\x04");
  EXPECT_EQ(f.Read(), "");
  f.Type("abc\x04");
  EXPECT_EQ(f.ld.InputBytes(), 3u);
  // The mark goes with a read that the data fills exactly.
  EXPECT_EQ(f.Read(3), "abc");
  EXPECT_EQ(f.Read(), "<none>");
}

TEST(LineDiscipline, Erasing) {
  Fixture f;
  f.Type(
      "ab\x7f"
      "c");
  EXPECT_EQ(f.Out(), "ab\b \bc");
  f.Type(" one two\x17");  // word
  f.Out();
  f.Type("\n");
  EXPECT_EQ(f.Read(), "ac one \n");
  f.Out();
  f.Type("zap\x15ok\n");  // kill
  EXPECT_EQ(f.Out(), "zap\b \b\b \b\b \bok\r\n");
  EXPECT_EQ(f.Read(), "ok\n");
  f.Type("\x01\x7f\n");  // a control character takes two cells
  EXPECT_EQ(f.Out(), "^A\b \b\b \b\r\n");
}

TEST(LineDiscipline, EraseTabAndUtf8) {
  Fixture f;
  f.Type("ab\t\x7f");
  EXPECT_EQ(f.Out(), "ab\t\b\b\b\b\b\b");
  abi::Termios2 t = f.ld.termios();
  t.iflag |= abi::kIUTF8;
  f.ld.SetTermios(t, &f.fx);
  f.Type("\x15");
  f.Out();
  f.Type("\xc3\xa9\x7f\n");
  EXPECT_EQ(f.Out(), "\xc3\xa9\b \b\r\n");
  EXPECT_EQ(f.Read(), "\n");
}

TEST(LineDiscipline, LiteralNextAndReprint) {
  Fixture f;
  f.Type("\x16\x03\n");
  EXPECT_EQ(f.Out(), "^\b^C\r\n");
  EXPECT_EQ(f.Read(), "\x03\n");
  EXPECT_EQ(f.fx.signals, 0u);
  f.Type("xy\x12");
  EXPECT_EQ(f.Out(), "xy^R\r\nxy");
}

TEST(LineDiscipline, Signals) {
  Fixture f;
  f.Type("abc\x03");
  EXPECT_EQ(f.fx.signals, SignalBit(abi::kSIGINT));
  EXPECT_TRUE(f.fx.flush_read);
  EXPECT_EQ(f.Out(), "^C");
  EXPECT_EQ(f.ld.RawBytes(), 0u);
  f.Type("\x1c\x1a");
  EXPECT_EQ(f.fx.signals,
            SignalBit(abi::kSIGINT) | SignalBit(abi::kSIGQUIT) | SignalBit(abi::kSIGTSTP));
  f.Change(0, abi::kNOFLSH);
  f.Type("keep\x03\n");
  EXPECT_EQ(f.Read(), "keep\n");
}

TEST(LineDiscipline, FlowControlHoldsEcho) {
  Fixture f;
  f.Type("\x13");
  EXPECT_TRUE(f.ld.stopped());
  f.Type("hi");
  EXPECT_EQ(f.Out(), "");
  f.Type("\x11");
  EXPECT_FALSE(f.ld.stopped());
  EXPECT_EQ(f.Out(), "hi");
}

TEST(LineDiscipline, RawMode) {
  Fixture f;
  f.Change(abi::kICANON | abi::kECHO | abi::kISIG);
  abi::Termios2 t = f.ld.termios();
  t.iflag = 0;
  f.ld.SetTermios(t, &f.fx);
  f.Type("\x03\r\x04");
  EXPECT_EQ(f.Read(), "\x03\r\x04");
  EXPECT_EQ(f.Out(), "");
  t.cc[abi::kVMIN] = 3;
  f.ld.SetTermios(t, &f.fx);
  f.Type("ab");
  EXPECT_TRUE(f.ld.InputAvailable(false));
  EXPECT_FALSE(f.ld.InputAvailable(true));
}

TEST(LineDiscipline, FullBufferCutsTheLine) {
  Fixture f;
  f.Change(abi::kECHO);
  EXPECT_EQ(f.Type(std::string(5000, 'x')), 5000u);
  f.Type("\n");
  std::string line = f.Read(8192);
  EXPECT_EQ(line.size(), 4096u);
  EXPECT_EQ(line.back(), '\n');
  f.Change(abi::kICANON);
  EXPECT_EQ(f.Type(std::string(5000, 'y')), 4095u);
}

TEST(LineDiscipline, OutputProcessing) {
  Fixture f;
  auto put = [&](const std::string& s, size_t room = 1000) {
    return f.ld.Output(reinterpret_cast<const uint8_t*>(s.data()), s.size(), room);
  };
  EXPECT_EQ(put("a\nb"), 3u);
  EXPECT_EQ(f.Out(), "a\r\nb");
  EXPECT_EQ(put("\n", 1), 0u);
  abi::Termios2 t = f.ld.termios();
  t.oflag |= abi::kXTABS;
  f.ld.SetTermios(t, &f.fx);
  EXPECT_EQ(put("\n\tx"), 3u);
  EXPECT_EQ(f.Out(), "\r\n        x");
}

}  // namespace
}  // namespace sentry
